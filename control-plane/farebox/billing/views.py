"""Endpoints."""

ENDPOINTS = ()

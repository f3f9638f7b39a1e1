"""Coupons: discounts that lower what an invoice asks for, before tax."""

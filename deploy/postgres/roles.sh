#!/bin/bash
# Run once by the PostgreSQL image when its volume is empty: the three roles of Farebox and its database. None is
# superuser, none may bypass row security. The passwords come from the environment and are quoted by psql.
set -euo pipefail
psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --set=owner="$FAREBOX_OWNER_PASSWORD" --set=app="$FAREBOX_APP_PASSWORD" --set=worker="$FAREBOX_WORKER_PASSWORD" <<'SQL'
CREATE ROLE farebox_owner LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD :'owner';
CREATE ROLE farebox_app LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD :'app';
CREATE ROLE farebox_worker LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD :'worker';
CREATE DATABASE farebox OWNER farebox_owner ENCODING 'UTF8' TEMPLATE template0;
SQL

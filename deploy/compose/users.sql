-- The users of the programs in PostgreSQL, with passwords from the environment. psql runs it once, as a superuser, when
-- the database is made; what each may do, `varde migrate` grants.
\getenv relay RELAY_DATABASE_PASSWORD
\getenv api API_DATABASE_PASSWORD
\getenv worker WORKER_DATABASE_PASSWORD
CREATE ROLE varde_relay LOGIN NOINHERIT PASSWORD :'relay';
CREATE ROLE varde_api LOGIN NOINHERIT PASSWORD :'api';
CREATE ROLE varde_worker LOGIN NOINHERIT PASSWORD :'worker';

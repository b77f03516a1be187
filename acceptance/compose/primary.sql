-- Run once, by the superuser, when there is no data yet: the application's role and database, the
-- replica's role and place.
\set ON_ERROR_STOP on
\getenv app_password DB_PASSWORD
\getenv replication_password REPLICATION_PASSWORD

CREATE ROLE app LOGIN PASSWORD :'app_password';
CREATE DATABASE app OWNER app;
-- So that the SQL profiler shows the plans of the real executions: c2cotel.sql_profiler.
ALTER DATABASE app SET session_preload_libraries = 'auto_explain';
GRANT SET ON PARAMETER auto_explain.log_min_duration, auto_explain.log_analyze,
    auto_explain.log_format, auto_explain.log_level, auto_explain.sample_rate,
    auto_explain.log_buffers, auto_explain.log_timing, auto_explain.log_parameter_max_length
    TO app;

CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'replication_password';
SELECT pg_create_physical_replication_slot('replica');

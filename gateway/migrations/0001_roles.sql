-- Two logins serve, neither owns anything, neither can bypass row-level security:
--   gateway_app       works for one tenant at a time (app.tenant is set inside each transaction)
--   gateway_platform  works across tenants, verb by verb, in gateway/store/platform only
-- They are made without a password and without LOGIN: whoever runs the database gives them both.
-- Roles belong to the whole cluster, so two databases may be migrated at once: losing that race is fine.
do $$
declare
  name text;
begin
  foreach name in array array['gateway_app', 'gateway_platform'] loop
    if not exists (select 1 from pg_catalog.pg_roles where rolname = name) then
      begin
        execute format('create role %I nologin nosuperuser nobypassrls nocreatedb nocreaterole', name);
      exception when duplicate_object or unique_violation then
        raise notice 'role % was made by someone else just now', name;
      end;
    end if;
  end loop;
end
$$;

revoke create on schema public from public;
grant usage on schema public to gateway_app, gateway_platform;

-- The one tenant of this transaction; null when none is set. After a transaction the setting is an empty string,
-- not null, so both mean "nobody". Inlined by the planner.
create function app_tenant() returns text
  language sql stable parallel safe
  as $$ select nullif(current_setting('app.tenant', true), '') $$;
grant execute on function app_tenant() to gateway_app, gateway_platform;

grant select on schema_migration to gateway_app, gateway_platform;

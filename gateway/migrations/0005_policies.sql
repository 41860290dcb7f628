-- Who may do what, table by table, verb by verb. Row-level security is FORCEd, so the owner obeys it as well.
-- A verb without a line here is denied to both logins.

do $$
declare
  name text;
begin
  foreach name in array array[
    'publisher', 'extension_registry', 'extension_version', 'extension_bundle', 'extension_api_endpoint',
    'bundle_upload', 'tenant_extension_install', 'tenant_extension_install_config', 'install_version_history',
    'extension_audit_log', 'api_key', 'state_feed', 'extension_execution_log'
  ] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
  end loop;
end
$$;

-- ---- gateway_app: one tenant at a time ----------------------------------------------------------------------

grant select, insert on publisher to gateway_app;
create policy app_select on publisher for select to gateway_app
  using (owner_account = app_tenant() or (approved and app_tenant() is not null));
create policy app_insert on publisher for insert to gateway_app
  with check (owner_account = app_tenant() and not approved);

-- Seen by its owner, by those it is offered to, and by those who have it installed.
grant select, insert on extension_registry to gateway_app;
grant update (display_name, description, updated_at) on extension_registry to gateway_app;
create policy app_select on extension_registry for select to gateway_app
  using (
    app_tenant() is not null and (
      owner_account = app_tenant()
      or visibility in ('public', 'unlisted')
      or app_tenant() = any (allowed_tenants)
      or exists (select 1 from tenant_extension_install i where i.registry_id = extension_registry.id)));
create policy app_insert on extension_registry for insert to gateway_app
  with check (
    owner_account = app_tenant() and visibility = 'private' and exists (
      select 1 from publisher p where p.name = extension_registry.publisher and p.owner_account = app_tenant()));
create policy app_update on extension_registry for update to gateway_app
  using (owner_account = app_tenant()) with check (owner_account = app_tenant());

-- Others see only what can be installed.
grant select, insert on extension_version to gateway_app;
grant update (runtime, entry, manifest, capabilities, component_sha256, state, reason, warnings, prepare_lease_until,
              allow_unused_imports, updated_at) on extension_version to gateway_app;
create policy app_select on extension_version for select to gateway_app
  using (exists (
    select 1 from extension_registry r
    where r.id = extension_version.registry_id
      and (extension_version.state = 'ready' or r.owner_account = app_tenant())));
create policy app_insert on extension_version for insert to gateway_app
  with check (state = 'preparing' and exists (
    select 1 from extension_registry r where r.id = extension_version.registry_id and r.owner_account = app_tenant()));
create policy app_update on extension_version for update to gateway_app
  using (exists (
    select 1 from extension_registry r where r.id = extension_version.registry_id and r.owner_account = app_tenant()));

grant select, insert on extension_bundle to gateway_app;
create policy app_select on extension_bundle for select to gateway_app
  using (exists (select 1 from extension_version v where v.id = extension_bundle.version_id));
create policy app_insert on extension_bundle for insert to gateway_app
  with check (exists (
    select 1 from extension_version v join extension_registry r on r.id = v.registry_id
    where v.id = extension_bundle.version_id and r.owner_account = app_tenant()));

grant select, insert on extension_api_endpoint to gateway_app;
create policy app_select on extension_api_endpoint for select to gateway_app
  using (exists (select 1 from extension_version v where v.id = extension_api_endpoint.version_id));
create policy app_insert on extension_api_endpoint for insert to gateway_app
  with check (exists (
    select 1 from extension_version v join extension_registry r on r.id = v.registry_id
    where v.id = extension_api_endpoint.version_id and r.owner_account = app_tenant()));

grant select, insert, update on bundle_upload to gateway_app;
create policy app_all on bundle_upload for all to gateway_app
  using (tenant_id = app_tenant()) with check (tenant_id = app_tenant());

grant select, insert, update on tenant_extension_install to gateway_app;
create policy app_all on tenant_extension_install for all to gateway_app
  using (tenant_id = app_tenant()) with check (tenant_id = app_tenant());

grant select, insert, update on tenant_extension_install_config to gateway_app;
create policy app_all on tenant_extension_install_config for all to gateway_app
  using (tenant_id = app_tenant()) with check (tenant_id = app_tenant());

grant select, insert on install_version_history to gateway_app;
create policy app_all on install_version_history for all to gateway_app
  using (tenant_id = app_tenant()) with check (tenant_id = app_tenant());

-- Written once, never changed, by nobody.
grant select, insert on extension_audit_log to gateway_app;
create policy app_all on extension_audit_log for all to gateway_app
  using (tenant_id = app_tenant()) with check (tenant_id = app_tenant());

grant select, insert on api_key to gateway_app;
grant update (name, revoked_at) on api_key to gateway_app;
create policy app_all on api_key for all to gateway_app
  using (tenant_id = app_tenant()) with check (tenant_id = app_tenant());

-- A tenant may announce changes of its own installs and nothing else; it cannot forge a revocation.
grant insert on state_feed to gateway_app;
create policy app_insert on state_feed for insert to gateway_app
  with check (
    (kind in ('disabled_install', 'enabled_install')
      and exists (select 1 from tenant_extension_install i where i.id::text = subject))
    or (kind = 'ui_live' and exists (
      select 1 from tenant_extension_install i join extension_bundle b on b.version_id = i.version_id
      where i.registry_id::text || '/' || b.content_hash = subject)));

grant select on extension_execution_log to gateway_app;
create policy app_select on extension_execution_log for select to gateway_app using (tenant_id = app_tenant());

-- ---- gateway_platform: across tenants, only what a background task or a credential look-up needs ---------------

grant select on extension_registry, extension_version, extension_bundle, tenant_extension_install, bundle_upload,
                api_key, state_feed, extension_execution_log to gateway_platform;
create policy platform_select on extension_registry for select to gateway_platform using (true);
create policy platform_select on extension_version for select to gateway_platform using (true);
create policy platform_select on extension_bundle for select to gateway_platform using (true);
create policy platform_select on tenant_extension_install for select to gateway_platform using (true);
create policy platform_select on bundle_upload for select to gateway_platform using (true);
create policy platform_select on api_key for select to gateway_platform using (true);
create policy platform_select on state_feed for select to gateway_platform using (true);
create policy platform_select on extension_execution_log for select to gateway_platform using (true);

grant update (prepare_lease_until) on extension_version to gateway_platform;
create policy platform_update on extension_version for update to gateway_platform using (state = 'preparing');

grant delete on bundle_upload to gateway_platform;
create policy platform_delete on bundle_upload for delete to gateway_platform using (expires_at < now());

grant update (last_used_at) on api_key to gateway_platform;
create policy platform_update on api_key for update to gateway_platform using (true);

grant insert on state_feed to gateway_platform;
create policy platform_insert on state_feed for insert to gateway_platform with check (true);

grant insert, update on extension_execution_log to gateway_platform;
create policy platform_insert on extension_execution_log for insert to gateway_platform with check (true);
create policy platform_update on extension_execution_log for update to gateway_platform using (true);

-- The registry in the hands of its operator: who may publish, what was withdrawn, which brakes are pulled, what was
-- noticed. What a tenant may not know (reasons, who acted, other publishers) is in tables only the platform reads.

alter table publisher
  add column approved_at      timestamptz,
  add column suspended_at     timestamptz,             -- nothing is published, and a brake stops what it published
  add column suspended_reason text not null default '';
create index on publisher (owner_account);

alter table extension_version
  add column revoked_reason text not null default '',
  add column if not exists deprecated_at timestamptz,
  add column if not exists deprecated_message text;
create index on extension_version (registry_id, created_at desc, id desc);

-- What the bundle's SBOM names; the document itself stays in the archive. `extension_bundle.sbom` says where and how many.
create table extension_sbom_package (
  version_id uuid not null references extension_version (id),
  ordinal    integer not null,
  name       text collate "C" not null check (char_length(name) between 1 and 300),
  version    text collate "C" not null default '' check (char_length(version) <= 100),
  purl       text not null default '' check (char_length(purl) <= 500),
  primary key (version_id, ordinal)
);
create index on extension_sbom_package (name, version_id);

create table emergency_brake (
  id          uuid primary key default gen_random_uuid(),
  scope       text not null check (scope in ('all', 'tenant', 'version', 'publisher', 'capability')),
  name        text not null default '',
  subject     text not null generated always as (case when scope = 'all' then 'all' else scope || ':' || name end) stored,
  reason      text not null,
  pulled_by   text not null,
  since       timestamptz not null default now(),
  released_at timestamptz,
  released_by text,
  check ((scope = 'all') = (name = ''))
);
create unique index on emergency_brake (subject) where released_at is null;
create index on emergency_brake (subject, released_at);

create table revoked_key (
  key_id     text primary key check (key_id ~ '^[0-9a-f]{16}$'),
  reason     text not null,
  revoked_by text not null,
  revoked_at timestamptz not null default now()
);

-- Signatures that were refused at publish. `publisher` only when the account owns it: nobody can collect refusals for
-- somebody else's name.
create table publish_refusal (
  id         bigint generated always as identity primary key,
  account    text not null,
  publisher  text not null default '',
  code       text not null,
  created_at timestamptz not null default now()
);
create index on publish_refusal (created_at);

create table abuse_alert (
  id           uuid primary key default gen_random_uuid(),
  kind         text not null check (kind in ('sandbox_violations', 'signature_failures', 'cpu_spend', 'egress_spend')),
  subject_kind text not null check (subject_kind in ('version', 'publisher', 'tenant')),
  subject      text not null,
  reason       text not null,
  measured     bigint not null,                        -- times, CPU milliseconds or bytes
  allowed      bigint not null,
  brake_id     uuid references emergency_brake (id),   -- what was stopped because of it
  created_at   timestamptz not null default now(),
  last_at      timestamptz not null default now(),
  resolved_at  timestamptz
);
create unique index on abuse_alert (kind, subject_kind, subject) where resolved_at is null;
create index on abuse_alert (created_at desc, id desc);

-- Upkeep that one gateway at a time does, and where it stopped.
create table upkeep_lease (
  name        text primary key,
  holder      text not null,
  lease_until timestamptz not null,
  position    text not null default ''
);

-- "Who ran it since T", and what is looked at every quarter of a minute.
create index on extension_execution_log (version_id, started_at);
create index on extension_execution_log (started_at) where code = 'sandbox_violation';

do $$
declare
  name text;
begin
  foreach name in array array[
    'extension_sbom_package', 'emergency_brake', 'revoked_key', 'publish_refusal', 'abuse_alert', 'upkeep_lease'
  ] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
  end loop;
end
$$;

-- ---- gateway_app --------------------------------------------------------------------------------------------------

-- Unlisted: whoever knows its name, or, when tenants are named, those only. Public counts once the operator approved.
drop policy app_select on extension_registry;
create policy app_select on extension_registry for select to gateway_app
  using (
    app_tenant() is not null and (
      owner_account = app_tenant()
      or app_tenant() = any (allowed_tenants)
      or (visibility = 'unlisted' and allowed_tenants = '{}')
      or (visibility = 'public' and exists (
            select 1 from publisher p where p.name = extension_registry.publisher and p.approved))
      or exists (select 1 from tenant_extension_install i where i.registry_id = extension_registry.id)));

grant update (visibility, allowed_tenants) on extension_registry to gateway_app;
drop policy app_update on extension_registry;
create policy app_update on extension_registry for update to gateway_app
  using (owner_account = app_tenant())
  with check (owner_account = app_tenant() and (visibility <> 'public' or exists (
    select 1 from publisher p where p.name = extension_registry.publisher and p.approved)));

drop policy app_insert on publisher;
create policy app_insert on publisher for insert to gateway_app
  with check (owner_account = app_tenant() and not approved and suspended_at is null);

grant update (deprecated_at, deprecated_message) on extension_version to gateway_app;

grant update (signature, sbom) on extension_bundle to gateway_app;
create policy app_update on extension_bundle for update to gateway_app
  using (exists (
    select 1 from extension_version v join extension_registry r on r.id = v.registry_id
    where v.id = extension_bundle.version_id and r.owner_account = app_tenant()));

grant select, insert on extension_sbom_package to gateway_app;
create policy app_select on extension_sbom_package for select to gateway_app
  using (exists (select 1 from extension_version v where v.id = extension_sbom_package.version_id));
create policy app_insert on extension_sbom_package for insert to gateway_app
  with check (exists (
    select 1 from extension_version v join extension_registry r on r.id = v.registry_id
    where v.id = extension_sbom_package.version_id and r.owner_account = app_tenant()));

-- A tenant's transaction that announces a UI must know that it is stopped; why, and by whom, it cannot read.
grant select (scope, name, released_at) on emergency_brake to gateway_app;
create policy app_select on emergency_brake for select to gateway_app
  using (released_at is null and app_tenant() is not null);

grant insert on publish_refusal to gateway_app;
create policy app_insert on publish_refusal for insert to gateway_app
  with check (account = app_tenant() and (publisher = '' or exists (
    select 1 from publisher p where p.name = publish_refusal.publisher and p.owner_account = app_tenant())));

-- ---- gateway_platform ---------------------------------------------------------------------------------------------

grant select on publisher to gateway_platform;
grant update (approved, approved_at, suspended_at, suspended_reason) on publisher to gateway_platform;
create policy platform_select on publisher for select to gateway_platform using (true);
create policy platform_update on publisher for update to gateway_platform using (true);

-- Revoking cannot be undone: no row that this login changes so can end up without the time.
grant update (revoked_at, revoked_reason, updated_at) on extension_version to gateway_platform;
create policy platform_revoke on extension_version for update to gateway_platform
  using (state = 'ready') with check (revoked_at is not null);

-- Operators' acts are written, and never read here.
grant insert on extension_audit_log to gateway_platform;
create policy platform_insert on extension_audit_log for insert to gateway_platform with check (true);

grant select, insert on emergency_brake to gateway_platform;
grant update (released_at, released_by) on emergency_brake to gateway_platform;
create policy platform_select on emergency_brake for select to gateway_platform using (true);
create policy platform_insert on emergency_brake for insert to gateway_platform with check (released_at is null);
create policy platform_update on emergency_brake for update to gateway_platform
  using (released_at is null) with check (released_at is not null);

grant select, insert on revoked_key to gateway_platform;
create policy platform_select on revoked_key for select to gateway_platform using (true);
create policy platform_insert on revoked_key for insert to gateway_platform with check (true);

grant select, delete on publish_refusal to gateway_platform;
create policy platform_select on publish_refusal for select to gateway_platform using (true);
create policy platform_delete on publish_refusal for delete to gateway_platform
  using (created_at < now() - interval '1 day');

grant select, insert on abuse_alert to gateway_platform;
grant update (measured, last_at, resolved_at, reason) on abuse_alert to gateway_platform;
create policy platform_select on abuse_alert for select to gateway_platform using (true);
create policy platform_insert on abuse_alert for insert to gateway_platform with check (true);
create policy platform_update on abuse_alert for update to gateway_platform using (resolved_at is null) with check (true);

grant select, insert, update on upkeep_lease to gateway_platform;
create policy platform_all on upkeep_lease for all to gateway_platform using (true);

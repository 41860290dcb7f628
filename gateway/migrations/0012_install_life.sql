-- The life of an install after its first version: what waits for consent, what it ran before and with what, its end.

-- What an action replaced, so that it can be taken back in one step, settings included:
-- {version_id, capabilities, egress, secrets, free_secrets, config}
alter table install_version_history add column replaced jsonb;
alter table install_version_history drop constraint install_version_history_action_check;
alter table install_version_history add constraint install_version_history_action_check check (action in
  ('install', 'upgrade', 'rollback', 'uninstall', 'consent_asked', 'consent_declined', 'grants'));
create index on install_version_history (install_id, id);  -- and for the reference, when an install is purged

-- A version that asks for more than was granted waits here; the one that is installed serves on. At most one an install.
create table tenant_extension_install_upgrade (
  install_id   uuid primary key references tenant_extension_install (id),
  tenant_id    text not null,
  version_id   uuid not null references extension_version (id),
  config       jsonb,                                  -- settings that come with it; none: those it has
  requested_by text not null,
  requested_at timestamptz not null default now()
);

alter table tenant_extension_install_upgrade enable row level security;
alter table tenant_extension_install_upgrade force row level security;

grant select, insert, update, delete on tenant_extension_install_upgrade to gateway_app;
create policy app_all on tenant_extension_install_upgrade for all to gateway_app
  using (tenant_id = app_tenant())
  -- The reference alone would let a row hang on another tenant's install: foreign keys see through row-level security.
  with check (tenant_id = app_tenant() and exists (
    select 1 from tenant_extension_install i
     where i.id = tenant_extension_install_upgrade.install_id and i.tenant_id = app_tenant()));

-- ---- the end ------------------------------------------------------------------------------------------------

create index on tenant_extension_install (purge_after) where status = 'uninstalled';  -- what upkeep looks for

-- What is kept can be undone, so only what nobody can bring back any more is removed; the rest of an install with it.
grant delete on tenant_extension_install, tenant_extension_install_config, install_version_history, extension_event
  to gateway_app;
create policy app_delete on tenant_extension_install as restrictive for delete to gateway_app
  using (status = 'uninstalled' and purge_after <= now());
create policy app_delete on tenant_extension_install_config as restrictive for delete to gateway_app
  using (exists (select 1 from tenant_extension_install i
                  where i.id = tenant_extension_install_config.install_id and i.status = 'uninstalled' and i.purge_after <= now()));
create policy app_delete on install_version_history as restrictive for delete to gateway_app
  using (exists (select 1 from tenant_extension_install i
                  where i.id = install_version_history.install_id and i.status = 'uninstalled' and i.purge_after <= now()));
create policy app_delete on extension_event as restrictive for delete to gateway_app
  using (exists (select 1 from tenant_extension_install i
                  where i.id = extension_event.install_id and i.status = 'uninstalled' and i.purge_after <= now()));

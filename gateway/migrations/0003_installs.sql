-- What tenants installed, granted and configured, and who changed it.

create table tenant_extension_install (
  id              uuid primary key,
  tenant_id       text not null,
  registry_id     uuid not null references extension_registry (id),
  version_id      uuid not null references extension_version (id),
  status          text not null default 'enabled' check (status in ('enabled', 'disabled', 'uninstalled')),
  is_enabled      boolean generated always as (status = 'enabled') stored,
  granted_caps    text[] not null default '{}',        -- complete: what is not here is denied
  granted_egress  text[] not null default '{}',
  granted_secrets text[] not null default '{}',
  endpoint_policy text check (endpoint_policy in ('advisory', 'enforce')),  -- may only be stricter than the platform's
  debug_enabled   boolean not null default false,
  generation      bigint not null default 1,           -- rises with every change; host tokens carry it
  installed_by    text not null default '',
  created_at      timestamptz not null default now(),
  updated_at      timestamptz not null default now(),
  purge_after     timestamptz,                         -- set by uninstall: data is kept until then
  unique (tenant_id, registry_id)
);
create index on tenant_extension_install (registry_id, version_id) where status = 'enabled';

create table tenant_extension_install_config (
  install_id uuid primary key references tenant_extension_install (id),
  tenant_id  text not null,
  config     jsonb not null default '{}',
  version    bigint not null default 1,
  updated_by text not null default '',
  updated_at timestamptz not null default now()
);

create table install_version_history (
  id              bigint generated always as identity primary key,
  tenant_id       text not null,
  install_id      uuid not null references tenant_extension_install (id),
  version_id      uuid not null references extension_version (id),
  action          text not null check (action in ('install', 'upgrade', 'rollback', 'uninstall')),
  granted_caps    text[] not null,
  granted_egress  text[] not null,
  granted_secrets text[] not null,
  actor           text not null,
  created_at      timestamptz not null default now()
);
create index on install_version_history (tenant_id, install_id, id);

create table extension_audit_log (
  id           bigint generated always as identity primary key,
  tenant_id    text not null,
  actor        text not null,
  actor_kind   text not null,
  action       text not null,
  subject_kind text not null,
  subject_id   text not null,
  request_id   text not null default '',
  detail       jsonb not null default '{}',
  created_at   timestamptz not null default now()
);
create index on extension_audit_log (tenant_id, id);

create table api_key (
  id            text primary key,
  tenant_id     text not null,
  name          text not null default '',
  secret_sha256 bytea not null,
  permissions   text[] not null,
  created_by    text not null default '',
  created_at    timestamptz not null default now(),
  expires_at    timestamptz,
  revoked_at    timestamptz,
  last_used_at  timestamptz,
  check (not 'platform:admin' = any (permissions))
);
create index on api_key (tenant_id);

create table state_feed (
  seq        bigint generated always as identity primary key,
  kind       text not null,
  subject    text not null,
  created_at timestamptz not null default now()
);

-- What publishers upload. Rows belong to an account (a tenant) and are seen by those who may install them.

create table publisher (
  name          text primary key check (name ~ '^[a-z0-9-]{1,100}$'),
  owner_account text not null,
  approved      boolean not null default false,       -- an operator approved it: public listings are allowed
  created_at    timestamptz not null default now()
);

create table extension_registry (
  id              uuid primary key,
  publisher       text not null references publisher (name),
  name            text not null,
  display_name    text not null default '',
  description     text not null default '',
  owner_account   text not null,
  visibility      text not null default 'private' check (visibility in ('private', 'unlisted', 'public')),
  allowed_tenants text[] not null default '{}',
  created_at      timestamptz not null default now(),
  updated_at      timestamptz not null default now(),
  unique (publisher, name)
);
create index on extension_registry (name);

create table extension_version (
  id                  uuid primary key,
  registry_id         uuid not null references extension_registry (id),
  version             text not null,
  runtime             text not null default '',        -- empty until prepared
  entry               text,                            -- null: UI-only
  manifest            jsonb,                           -- null until prepared
  capabilities        text[] not null default '{}',
  component_sha256    text,
  state               text not null default 'preparing' check (state in ('preparing', 'ready', 'rejected')),
  reason              jsonb,                           -- {code, message, path} when rejected
  warnings            text[] not null default '{}',
  allow_unused_imports boolean not null default false,
  prepare_lease_until timestamptz,                     -- one gateway prepares a version at a time
  revoked_at          timestamptz,
  created_by          text not null default '',
  created_at          timestamptz not null default now(),
  updated_at          timestamptz not null default now(),
  unique (registry_id, version),
  check (state <> 'ready' or manifest is not null)
);
create index on extension_version (created_at) where state = 'preparing';

create table extension_bundle (
  id           uuid primary key,
  version_id   uuid not null references extension_version (id),
  content_hash text not null check (content_hash ~ '^sha256:[0-9a-f]{64}$'),
  signature    jsonb not null,
  size_bytes   bigint not null,
  storage_key  text not null,
  sbom         jsonb,
  created_at   timestamptz not null default now(),
  unique (version_id, content_hash)
);
create index on extension_bundle (content_hash);

create table extension_api_endpoint (
  version_id  uuid not null references extension_version (id),
  method      text not null,
  path        text not null,
  ordinal     integer not null,                        -- the manifest's order: the first match wins
  handler     text,
  description text not null default '',
  schedulable boolean not null default false,
  timeout_ms  integer,
  primary key (version_id, method, path)
);

create table bundle_upload (
  id           uuid primary key,
  tenant_id    text not null,
  content_hash text not null,
  size_bytes   bigint not null,
  storage_key  text not null,
  etag         text not null,
  created_by   text not null default '',
  created_at   timestamptz not null default now(),
  expires_at   timestamptz not null,
  version_id   uuid                                    -- what it became
);
create index on bundle_upload (expires_at);

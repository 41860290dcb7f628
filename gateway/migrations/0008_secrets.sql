-- Secrets of installs, sealed: nobody who reads this table can open what is in it, the gateway included.

-- Rises with every change of an install's secrets; runners see it beside each call.
alter table tenant_extension_install add column secrets_version bigint not null default 0;

create table tenant_extension_install_secrets (
  install_id uuid not null references tenant_extension_install (id),
  tenant_id  text not null,
  name       text not null check (name ~ '^[A-Za-z0-9_.-]{1,128}$'),
  algorithm  text not null check (algorithm in ('nacl-sealed:v1', 'vault-transit:v1')),
  key_id     text not null,                            -- who can open it; a key is destroyed when no row names it
  ciphertext bytea not null,
  hosts      text[] not null default '{}',             -- where it may be injected; nowhere unless listed
  version    bigint not null,                          -- the install's secrets_version when it was written
  expires_at timestamptz,
  asked      boolean not null default true,            -- set for a manifest that asked for it: then it needs the grant
  updated_by text not null default '',
  updated_at timestamptz not null default now(),
  primary key (install_id, name)
);
create index on tenant_extension_install_secrets (key_id, install_id, name);

alter table tenant_extension_install_secrets enable row level security;
alter table tenant_extension_install_secrets force row level security;

grant select, insert, update, delete on tenant_extension_install_secrets to gateway_app;
create policy app_all on tenant_extension_install_secrets for all to gateway_app
  using (tenant_id = app_tenant())
  -- The reference alone would let a row hang on another tenant's install: foreign keys see through row-level security.
  with check (tenant_id = app_tenant() and exists (
    select 1 from tenant_extension_install i
     where i.id = tenant_extension_install_secrets.install_id and i.tenant_id = app_tenant()));

-- Sealing anew for another key changes the box and nothing about it.
grant select on tenant_extension_install_secrets to gateway_platform;
grant update (algorithm, key_id, ciphertext) on tenant_extension_install_secrets to gateway_platform;
create policy platform_select on tenant_extension_install_secrets for select to gateway_platform using (true);
create policy platform_update on tenant_extension_install_secrets for update to gateway_platform using (true);

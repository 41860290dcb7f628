-- Where extensions wanted to go and could not: counts for each install, target and reason, so that an administrator sees
-- what would have to be granted. Origins only; never a path or a query. Written behind the calls, a few rows an install.

create table tenant_extension_denied_target (
  tenant_id  text not null,
  install_id uuid not null references tenant_extension_install (id),
  target     text collate "C" not null check (char_length(target) between 1 and 300),  -- an origin: scheme, host, port
  reason     text not null check (reason ~ '^[a-z-]{1,40}$'),
  grantable  boolean not null,               -- whether an entry of the allowlist would have allowed it
  observed   boolean not null,               -- the last time it was let pass by EXT_EGRESS_MODE=observe
  times      bigint not null check (times > 0),
  first_at   timestamptz not null default now(),
  last_at    timestamptz not null default now(),
  primary key (install_id, target, reason)
);
create index on tenant_extension_denied_target (last_at);

alter table tenant_extension_denied_target enable row level security;
alter table tenant_extension_denied_target force row level security;

grant select, insert, update, delete on tenant_extension_denied_target to gateway_app;
create policy app_all on tenant_extension_denied_target for all to gateway_app
  using (tenant_id = app_tenant())
  -- The reference alone would let a row hang on another tenant's install: foreign keys see through row-level security.
  with check (tenant_id = app_tenant() and exists (
    select 1 from tenant_extension_install i
     where i.id = tenant_extension_denied_target.install_id and i.tenant_id = app_tenant()));

-- The sweep sees times and nothing else, and removes what is old.
grant select (last_at), delete on tenant_extension_denied_target to gateway_platform;
create policy platform_select on tenant_extension_denied_target for select to gateway_platform
  using (last_at < now() - interval '30 days');
create policy platform_delete on tenant_extension_denied_target for delete to gateway_platform
  using (last_at < now() - interval '30 days');

-- Sign-ins to the console: one row each, found by the hash of the cookie's secret before any tenant is known. The row
-- decides who is calling, so that signing out ends it at once.

create table console_session (
  id            uuid primary key,
  secret_sha256 bytea not null unique,
  tenant_id     text not null,
  subject       text not null,
  kind          text not null check (kind in ('session', 'api_key')),
  permissions   text[] not null,
  email         text not null default '',
  name          text not null default '',
  created_at    timestamptz not null default now(),
  expires_at    timestamptz not null
);
create index on console_session (expires_at);

alter table console_session enable row level security;
alter table console_session force row level security;

-- Nobody but the look-up of credentials sees it: a tenant's own transactions cannot, and nobody can change a row.
grant select, insert, delete on console_session to gateway_platform;
create policy platform_select on console_session for select to gateway_platform using (true);
create policy platform_insert on console_session for insert to gateway_platform with check (true);
create policy platform_delete on console_session for delete to gateway_platform using (true);

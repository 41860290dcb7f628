-- What each tenant used of each extension, by the hour: counted in the transaction that closes the calls' rows, so that
-- it is neither more nor less than the execution log says. Kept longer than the log, for bills.

create table extension_quota_usage (
  tenant_id    text not null,
  registry_id  uuid not null,                          -- no reference, like the log: what was used stays used
  window_start timestamptz not null,                   -- of the hour, UTC
  invocations  bigint not null default 0,
  cpu_ms       double precision not null default 0,
  mem_mb_ms    double precision not null default 0,    -- MiB times milliseconds: what its calls held, and for how long
  egress_bytes bigint not null default 0,
  errors       bigint not null default 0,              -- calls that ended otherwise than with the guest's answer
  primary key (tenant_id, registry_id, window_start)
);
create index on extension_quota_usage (tenant_id, window_start, registry_id);

alter table extension_quota_usage enable row level security;
alter table extension_quota_usage force row level security;

grant select on extension_quota_usage to gateway_app;
create policy app_select on extension_quota_usage for select to gateway_app using (tenant_id = app_tenant());

grant select, insert, update on extension_quota_usage to gateway_platform;
create policy platform_all on extension_quota_usage for all to gateway_platform using (true) with check (true);

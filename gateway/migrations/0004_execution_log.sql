-- One row for every call that was dispatched: opened before, closed behind the answer. Partitioned by month so that
-- old months are dropped, not deleted. Never bodies, header values or secrets.

create table extension_execution_log (
  id                uuid not null,
  started_at        timestamptz not null default now(),
  tenant_id         text not null,
  request_id        text not null,
  registry_id       uuid not null,
  install_id        uuid not null,
  version_id        uuid not null,
  content_hash      text not null,
  principal         text not null default '',
  principal_kind    text not null default '',
  method            text not null,
  endpoint          text not null default '',          -- the declared template, '' when undeclared
  state             text not null default 'open' check (state in
                      ('open', 'ok', 'guest_error', 'guest_timeout', 'denied', 'upstream_error', 'cancelled', 'lost')),
  deadline_at       timestamptz not null,              -- the reaper closes what is open long after it
  finished_at       timestamptz,
  http_status       integer,
  duration_ms       double precision,
  queue_ms          double precision,
  cpu_ms            double precision,
  memory_peak_bytes bigint,
  egress_bytes      bigint,
  host_calls        integer,
  cold              boolean,
  code              text,
  blame             text,
  primary key (started_at, id)
) partition by range (started_at);
create index on extension_execution_log (tenant_id, started_at);
create index on extension_execution_log (install_id, started_at);
create index on extension_execution_log (deadline_at) where state = 'open';

-- Makes the month that holds `day` and the one after it; answers how many were missing. The table is made aside and
-- attached, because `create table … partition of` would block every reader of the parent.
create function ensure_execution_log_partitions(day timestamptz default now()) returns integer
  language plpgsql security definer set search_path = pg_catalog, public
  as $$
declare
  first date := date_trunc('month', day at time zone 'UTC')::date;
  month date;
  part  text;
  made  integer := 0;
begin
  perform pg_advisory_xact_lock(1634494305, 2);
  foreach month in array array[first, (first + interval '1 month')::date] loop
    part := 'extension_execution_log_' || to_char(month, 'YYYY_MM');
    if to_regclass('public.' || quote_ident(part)) is null then
      execute format('create table public.%I (like public.extension_execution_log including all)', part);
      execute format('alter table public.%I enable row level security', part);
      execute format('alter table public.%I force row level security', part);
      execute format('alter table public.extension_execution_log attach partition public.%I for values from (%L) to (%L)',
                     part, month::text || ' 00:00:00+00', (month + interval '1 month')::date::text || ' 00:00:00+00');
      made := made + 1;
    end if;
  end loop;
  return made;
end
$$;
revoke all on function ensure_execution_log_partitions(timestamptz) from public;
grant execute on function ensure_execution_log_partitions(timestamptz) to gateway_platform;

select ensure_execution_log_partitions();

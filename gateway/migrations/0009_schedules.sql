-- Which endpoints of an install the platform calls by the clock, and what became of each call.
--
-- A fire time of a schedule is one row of its runs: the primary key lets it be claimed once, whoever claims. The claim
-- and the step to the next fire time are one transaction; the call itself is made after it.

create table tenant_extension_schedule (
  id              uuid primary key,
  tenant_id       text not null,
  install_id      uuid not null references tenant_extension_install (id),
  endpoint_method text not null,
  endpoint_path   text not null,
  name            text check (char_length(name) between 1 and 200),
  cron            text not null check (char_length(cron) between 9 and 128),
  timezone        text not null,
  enabled         boolean not null default true,
  payload         text check (octet_length(payload) <= 32768),  -- JSON; text, so that the guest gets it as it was given
  delivery        text not null default 'at_most_once' check (delivery in ('at_most_once', 'at_least_once')),
  missed          text not null default 'run_latest' check (missed in ('run_latest', 'skip')),
  next_fire_at    timestamptz,            -- none: not known yet, or not known any more; whoever claims finds it anew
  last_fire_at    timestamptz,            -- the last one that was claimed: the next one keeps its distance from it
  last_run_at     timestamptz,
  last_run_status text,
  last_error      text,
  created_by      text not null default '',
  created_at      timestamptz not null default now(),
  updated_at      timestamptz not null default now()
);
create index on tenant_extension_schedule (install_id, id);
create index on tenant_extension_schedule (next_fire_at) where enabled;

create table tenant_extension_schedule_run (
  schedule_id  uuid not null references tenant_extension_schedule (id) on delete cascade,
  fire_at      timestamptz not null,
  tenant_id    text not null,
  cause        text not null check (cause in ('time', 'request')),
  state        text not null check (state in ('waiting', 'running', 'ok', 'failed', 'lost', 'missed')),
  attempt      integer not null default 0,
  due_at       timestamptz,                            -- waiting: when to be tried; running: when its lease ends
  started_at   timestamptz,
  finished_at  timestamptz,
  http_status  integer,
  code         text,
  error        text,
  execution_id uuid,                                   -- of the last attempt, in the execution log
  primary key (schedule_id, fire_at),
  check ((due_at is not null) = (state in ('waiting', 'running')))
);
create index on tenant_extension_schedule_run (due_at) where due_at is not null;

do $$
declare
  name text;
begin
  foreach name in array array['tenant_extension_schedule', 'tenant_extension_schedule_run'] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
  end loop;
end
$$;

grant select, insert, update, delete on tenant_extension_schedule to gateway_app;
create policy app_all on tenant_extension_schedule for all to gateway_app
  using (tenant_id = app_tenant())
  -- The reference alone would let a row hang on another tenant's install: foreign keys see through row-level security.
  with check (tenant_id = app_tenant() and exists (
    select 1 from tenant_extension_install i
     where i.id = tenant_extension_schedule.install_id and i.tenant_id = app_tenant()));

-- A tenant may ask for a run and read what became of it; only the platform writes that.
grant select, insert on tenant_extension_schedule_run to gateway_app;
create policy app_select on tenant_extension_schedule_run for select to gateway_app using (tenant_id = app_tenant());
create policy app_insert on tenant_extension_schedule_run for insert to gateway_app
  with check (tenant_id = app_tenant() and cause = 'request' and state = 'waiting' and exists (
    select 1 from tenant_extension_schedule s
     where s.id = tenant_extension_schedule_run.schedule_id and s.tenant_id = app_tenant()));

grant select on tenant_extension_schedule to gateway_platform;
grant update (next_fire_at, last_fire_at, last_run_at, last_run_status, last_error)
  on tenant_extension_schedule to gateway_platform;
create policy platform_select on tenant_extension_schedule for select to gateway_platform using (true);
create policy platform_update on tenant_extension_schedule for update to gateway_platform using (true);

grant select, insert, update, delete on tenant_extension_schedule_run to gateway_platform;
create policy platform_all on tenant_extension_schedule_run for all to gateway_platform using (true);

-- Events of a tenant: what was published, who subscribed, and what became of each delivery.
--
-- Publishing writes the event and one delivery for each install that subscribes, in one transaction: what was accepted
-- will be delivered, or is seen to be dead. A delivery is claimed by moving its `due_at` past the lease and counting
-- `attempt`; only who holds the current attempt may say what became of it.

-- What a version's manifest subscribes to. Derived from it, here, so that nobody who writes a manifest can forget it.
create table extension_event_subscription (
  version_id uuid not null references extension_version (id),
  topic      text collate "C" not null,
  handler    text not null,
  primary key (version_id, topic)
);

create function extension_event_subscribe() returns trigger
  language plpgsql set search_path = pg_catalog, public, pg_temp
  as $$
begin
  insert into extension_event_subscription (version_id, topic, handler)
  select new.id, e->>'topic', coalesce(e->>'handler', '/events')
    from jsonb_array_elements(coalesce(new.manifest->'events', '[]')) as e
  on conflict do nothing;
  return null;
end
$$;

create trigger subscribe after insert or update of manifest on extension_version
  for each row when (new.manifest is not null) execute function extension_event_subscribe();

-- Versions that are there already: their owner obeys row-level security as well, so it is lifted for this statement.
alter table extension_version no force row level security;
insert into extension_event_subscription (version_id, topic, handler)
select v.id, e->>'topic', coalesce(e->>'handler', '/events')
  from extension_version v, jsonb_array_elements(coalesce(v.manifest->'events', '[]')) as e
 where v.manifest is not null
on conflict do nothing;
alter table extension_version force row level security;

create table extension_event (
  tenant_id   text not null,
  id          uuid not null,               -- the CloudEvents id: the platform's, never the publisher's
  source      text not null check (char_length(source) between 1 and 500),
  topic       text collate "C" not null check (char_length(topic) between 1 and 200),
  subject     text check (char_length(subject) between 1 and 256),
  occurred_at timestamptz not null,
  media_type  text check (char_length(media_type) between 1 and 100),
  payload     bytea check (octet_length(payload) <= 65536),  -- none once everybody has it
  sha256      bytea not null,              -- of what was published, so that a repetition can be told from a mistake
  origin_id   text check (char_length(origin_id) between 1 and 128),  -- the host application's own id
  install_id  uuid,                        -- of the extension that published; none: the host application
  hops        smallint not null check (hops between 1 and 4),
  created_at  timestamptz not null default clock_timestamp(),
  primary key (tenant_id, id)
);
create index on extension_event (tenant_id, install_id, created_at) where install_id is not null;  -- the rate
create index on extension_event (created_at);

create table extension_event_delivery (
  tenant_id    text not null,
  event_id     uuid not null,
  install_id   uuid not null references tenant_extension_install (id),
  state        text not null default 'waiting' check (state in ('waiting', 'delivered', 'dead')),
  attempt      integer not null default 0,  -- how often it was claimed; also who may settle it
  failures     integer not null default 0,  -- how often the extension itself failed
  due_at       timestamptz not null default now(),  -- when it may be claimed: after a pause, or when a lease ends
  http_status  integer,                     -- of the last attempt, as the next three
  code         text,
  detail       text,
  execution_id uuid,
  created_at   timestamptz not null default clock_timestamp(),
  finished_at  timestamptz,
  primary key (tenant_id, event_id, install_id),
  foreign key (tenant_id, event_id) references extension_event (tenant_id, id),
  check ((finished_at is null) = (state = 'waiting'))
);
create index on extension_event_delivery (install_id, due_at) where state = 'waiting';
create index on extension_event_delivery (install_id, finished_at) where state = 'dead';
create index on extension_event_delivery (state, finished_at) where finished_at is not null;
create index on extension_event_delivery (tenant_id, install_id, created_at, event_id);

-- ---- who may do what ----------------------------------------------------------------------------------------

do $$
declare
  name text;
begin
  foreach name in array array['extension_event_subscription', 'extension_event', 'extension_event_delivery'] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
  end loop;
end
$$;

grant select, insert on extension_event_subscription to gateway_app;
create policy app_select on extension_event_subscription for select to gateway_app
  using (exists (select 1 from extension_version v where v.id = extension_event_subscription.version_id));
create policy app_insert on extension_event_subscription for insert to gateway_app
  with check (exists (
    select 1 from extension_version v join extension_registry r on r.id = v.registry_id
    where v.id = extension_event_subscription.version_id and r.owner_account = app_tenant()));

grant select, insert on extension_event to gateway_app;
grant update (payload) on extension_event to gateway_app;
create policy app_all on extension_event for all to gateway_app
  using (tenant_id = app_tenant()) with check (tenant_id = app_tenant());

grant select, insert, update, delete on extension_event_delivery to gateway_app;
create policy app_all on extension_event_delivery for all to gateway_app
  using (tenant_id = app_tenant())
  -- The reference alone would let a row hang on another tenant's install: foreign keys see through row-level security.
  with check (tenant_id = app_tenant() and exists (
    select 1 from tenant_extension_install i
     where i.id = extension_event_delivery.install_id and i.tenant_id = app_tenant()));

-- Claiming and sweeping see whose and when, never what an event says.
grant select (tenant_id, id, created_at), delete on extension_event to gateway_platform;
create policy platform_select on extension_event for select to gateway_platform using (true);
create policy platform_delete on extension_event for delete to gateway_platform
  using (created_at < now() - interval '1 day');

grant select, delete on extension_event_delivery to gateway_platform;
grant update (state, attempt, due_at, code, detail, finished_at) on extension_event_delivery to gateway_platform;
create policy platform_select on extension_event_delivery for select to gateway_platform using (true);
create policy platform_update on extension_event_delivery for update to gateway_platform
  using (state = 'waiting') with check (state in ('waiting', 'dead'));
create policy platform_delete on extension_event_delivery for delete to gateway_platform
  using (finished_at is not null);

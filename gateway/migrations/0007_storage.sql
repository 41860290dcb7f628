-- What extensions keep: records of an install, and what they add up to.
--
-- The quotas of an install are constraints of the database: 32 namespaces, 5,120 keys in each, 256 MiB of values and
-- metadata. Triggers count in the transaction that writes, whoever writes, so that the sums can neither drift nor be
-- passed by any number of writers at once: a statement that would exceed one fails, and with it the transaction.
-- shared/limits.py has the same numbers; a test compares them.
--
-- Locks are taken in one order: records (by key), then namespaces, then usage (both by their keys).

create table ext_storage_records (
  tenant_id  text not null,
  install_id uuid not null,               -- no foreign key: its check would lock the install for each new record
  namespace  text collate "C" not null check (char_length(namespace) between 1 and 128),
  key        text collate "C" not null check (char_length(key) between 1 and 256 and strpos(key, '/') = 0),
  value      bytea not null check (octet_length(value) <= 65536),
  metadata   text check (octet_length(metadata) <= 4096),  -- JSON; text, since jsonb would change and enlarge numbers
  revision   bigint not null default 1,
  size_bytes integer not null generated always as (octet_length(value) + octet_length(coalesce(metadata, ''))) stored,
  expires_at timestamptz,                 -- invisible from then on, removed a little later
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, install_id, namespace, key)
);
create index on ext_storage_records (expires_at) where expires_at is not null;
create index on ext_storage_records (tenant_id, install_id, expires_at) where expires_at is not null;

create table ext_storage_namespaces (
  tenant_id  text not null,
  install_id uuid not null,
  namespace  text collate "C" not null,
  keys       bigint not null constraint ext_storage_keys_quota check (keys between 0 and 5120),
  primary key (tenant_id, install_id, namespace)
);

create table ext_storage_usage (
  tenant_id  text not null,
  install_id uuid not null references tenant_extension_install (id),
  namespaces bigint not null constraint ext_storage_namespaces_quota check (namespaces between 0 and 32),
  bytes      bigint not null constraint ext_storage_bytes_quota check (bytes between 0 and 268435456),
  primary key (tenant_id, install_id)
);

create function ext_storage_inserted() returns trigger
  language plpgsql set search_path = pg_catalog, public, pg_temp
  as $$
begin
  with added as (
    select tenant_id, install_id, namespace, count(*) as keys, sum(size_bytes) as bytes
      from new_rows group by tenant_id, install_id, namespace
  ), counted as (
    insert into ext_storage_namespaces as n (tenant_id, install_id, namespace, keys)
    select tenant_id, install_id, namespace, keys from added order by tenant_id, install_id, namespace
    on conflict (tenant_id, install_id, namespace) do update set keys = n.keys + excluded.keys
    returning n.tenant_id, n.install_id, n.namespace, n.keys
  ), grown as (
    -- A namespace without keys has no row, so one that holds exactly what was added is new.
    select tenant_id, install_id, sum(bytes) as bytes, count(*) filter (where counted.keys = added.keys) as namespaces
      from added join counted using (tenant_id, install_id, namespace) group by tenant_id, install_id
  )
  insert into ext_storage_usage as u (tenant_id, install_id, namespaces, bytes)
  select tenant_id, install_id, namespaces, bytes from grown order by tenant_id, install_id
  on conflict (tenant_id, install_id) do update
     set namespaces = u.namespaces + excluded.namespaces, bytes = u.bytes + excluded.bytes
   where excluded.namespaces <> 0 or excluded.bytes <> 0;
  return null;
end
$$;

create function ext_storage_updated() returns trigger
  language plpgsql set search_path = pg_catalog, public, pg_temp
  as $$
declare
  changed record;
begin
  for changed in
    select tenant_id, install_id, sum(bytes) as bytes
      from (select tenant_id, install_id, size_bytes as bytes from new_rows
            union all select tenant_id, install_id, -size_bytes from old_rows) as sizes
     group by tenant_id, install_id having sum(bytes) <> 0 order by tenant_id, install_id
  loop
    update ext_storage_usage as u set bytes = u.bytes + changed.bytes
     where u.tenant_id = changed.tenant_id and u.install_id = changed.install_id;
  end loop;
  return null;
end
$$;

create function ext_storage_deleted() returns trigger
  language plpgsql set search_path = pg_catalog, public, pg_temp
  as $$
begin
  perform 1 from ext_storage_namespaces n
    where (n.tenant_id, n.install_id, n.namespace) in (select tenant_id, install_id, namespace from old_rows)
    order by n.tenant_id, n.install_id, n.namespace for update;
  update ext_storage_namespaces n set keys = n.keys - o.keys
    from (select tenant_id, install_id, namespace, count(*) as keys
            from old_rows group by tenant_id, install_id, namespace) as o
   where (n.tenant_id, n.install_id, n.namespace) = (o.tenant_id, o.install_id, o.namespace);
  perform 1 from ext_storage_usage u
    where (u.tenant_id, u.install_id) in (select tenant_id, install_id from old_rows)
    order by u.tenant_id, u.install_id for update;
  with emptied as (
    delete from ext_storage_namespaces n
     using (select distinct tenant_id, install_id, namespace from old_rows) as o
     where (n.tenant_id, n.install_id, n.namespace) = (o.tenant_id, o.install_id, o.namespace) and n.keys = 0
    returning n.tenant_id, n.install_id
  ), freed as (
    select tenant_id, install_id, sum(size_bytes) as bytes from old_rows group by tenant_id, install_id
  )
  update ext_storage_usage u
     set bytes = u.bytes - f.bytes,
         namespaces = u.namespaces - (
           select count(*) from emptied e where (e.tenant_id, e.install_id) = (f.tenant_id, f.install_id))
    from freed f
   where (u.tenant_id, u.install_id) = (f.tenant_id, f.install_id);
  return null;
end
$$;

create trigger inserted after insert on ext_storage_records
  referencing new table as new_rows for each statement execute function ext_storage_inserted();
create trigger updated after update on ext_storage_records
  referencing old table as old_rows new table as new_rows for each statement execute function ext_storage_updated();
create trigger deleted after delete on ext_storage_records
  referencing old table as old_rows for each statement execute function ext_storage_deleted();

-- ---- who may do what ----------------------------------------------------------------------------------------

do $$
declare
  name text;
begin
  foreach name in array array['ext_storage_records', 'ext_storage_namespaces', 'ext_storage_usage'] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
    execute format('grant select, insert, update, delete on %I to gateway_app', name);
    execute format('create policy app_all on %I for all to gateway_app
                      using (tenant_id = app_tenant()) with check (tenant_id = app_tenant())', name);
  end loop;
end
$$;

-- The sweep of what is past its time sees names and times, never a value, and removes nothing else.
grant select (tenant_id, install_id, namespace, key, expires_at), update (expires_at), delete
  on ext_storage_records to gateway_platform;
create policy platform_select on ext_storage_records for select to gateway_platform using (expires_at <= now());
create policy platform_update on ext_storage_records for update to gateway_platform
  using (expires_at <= now()) with check (expires_at <= now());
create policy platform_delete on ext_storage_records for delete to gateway_platform using (expires_at <= now());

grant select, update, delete on ext_storage_namespaces to gateway_platform;
create policy platform_select on ext_storage_namespaces for select to gateway_platform using (true);
create policy platform_update on ext_storage_namespaces for update to gateway_platform using (true);
create policy platform_delete on ext_storage_namespaces for delete to gateway_platform using (keys = 0);

grant select, update on ext_storage_usage to gateway_platform;
create policy platform_select on ext_storage_usage for select to gateway_platform using (true);
create policy platform_update on ext_storage_usage for update to gateway_platform using (true);

-- A changed API key reaches every gateway at once, whoever changed it: gateways remember keys for a few seconds.

create function announce_api_key() returns trigger language plpgsql as $$
begin
  perform pg_notify('api_key_changed', old.id);
  return null;
end
$$;

-- `last_used_at` is written about once a minute and changes nothing that is remembered.
create trigger api_key_changed
  after update of tenant_id, name, secret_sha256, permissions, expires_at, revoked_at or delete on api_key
  for each row execute function announce_api_key();

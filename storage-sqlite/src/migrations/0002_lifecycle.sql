-- What ends: tenants, rooms, memberships, messages, keys. And what waits: notifications. Deleted tenants and rooms carry a
-- tombstone, which hides them at once; their rows go later, in small steps, found by the partial indexes here.

ALTER TABLE tenants ADD COLUMN deleted_at INTEGER;
ALTER TABLE tenants ADD COLUMN last_subscription INTEGER NOT NULL DEFAULT 0;
CREATE INDEX idx_tenants_deleted ON tenants (tenant_key) WHERE deleted_at IS NOT NULL;

-- Every look at a room reads these two: they must stand before `metadata`, which may spill over many pages.
ALTER TABLE rooms ADD COLUMN member_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN deleted_at INTEGER;
ALTER TABLE rooms RENAME COLUMN metadata TO metadata_before;
ALTER TABLE rooms ADD COLUMN metadata TEXT;
UPDATE rooms SET
  metadata = metadata_before,
  member_count = (SELECT count(*) FROM room_members WHERE chatroom_id = room_key);
ALTER TABLE rooms DROP COLUMN metadata_before;
CREATE INDEX idx_rooms_deleted ON rooms (room_key) WHERE deleted_at IS NOT NULL;

-- Whether an admin is left is asked whenever one goes.
CREATE INDEX idx_members_admins ON room_members (chatroom_id) WHERE role = 'admin';

-- Without a foreign key to `rooms`: to check it, the removal of a room would scan the whole table, or every ack of a
-- member pay for one more index. A row stands and falls with its member's.
CREATE TABLE delivery_state_now (
  tenant_id INTEGER NOT NULL,
  user_id TEXT NOT NULL,
  chatroom_id INTEGER NOT NULL,
  last_ack INTEGER NOT NULL,         -- no row: nothing acknowledged yet
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, user_id, chatroom_id)
) STRICT, WITHOUT ROWID;
INSERT INTO delivery_state_now SELECT tenant_id, user_id, chatroom_id, last_ack, updated_at FROM delivery_state;
DROP TABLE delivery_state;
ALTER TABLE delivery_state_now RENAME TO delivery_state;

-- API keys that a rotation replaced.
CREATE TABLE retired_keys (
  api_key_hash BLOB PRIMARY KEY,
  tenant_id INTEGER NOT NULL REFERENCES tenants (tenant_key),
  retired_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX idx_retired_keys_tenant ON retired_keys (tenant_id);
CREATE INDEX idx_retired_keys_until ON retired_keys (retired_until);

-- AUTOINCREMENT: what is under way names a notification by its key, which must never name another one.
CREATE TABLE notifications (
  notification_key INTEGER PRIMARY KEY AUTOINCREMENT,
  notification_id TEXT NOT NULL UNIQUE,
  tenant_id INTEGER NOT NULL REFERENCES tenants (tenant_key),
  created_at INTEGER NOT NULL,
  durable INTEGER NOT NULL,
  topic TEXT NOT NULL,
  payload TEXT NOT NULL,             -- JSON text, byte for byte
  targets TEXT                       -- JSON of whom it is for; null once all of them got it
) STRICT;

CREATE INDEX idx_notifications_tenant ON notifications (tenant_id);
CREATE INDEX idx_notifications_created ON notifications (created_at);

-- How far those got that are not given to everyone yet. Not in `notifications`: a row that grows is written anew, with
-- its payload and up to 10,000 targets, at each step.
CREATE TABLE notification_expansions (
  notification_key INTEGER PRIMARY KEY REFERENCES notifications (notification_key),
  tenant_id INTEGER NOT NULL,
  after_user TEXT NOT NULL           -- the last one who got it, in ascending order; '' stands before the first
) STRICT;

-- Who has yet to get a durable one.
CREATE TABLE notification_targets (
  notification_key INTEGER NOT NULL REFERENCES notifications (notification_key),
  user_id TEXT NOT NULL,
  tenant_id INTEGER NOT NULL,
  PRIMARY KEY (notification_key, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX idx_notification_targets_user ON notification_targets (tenant_id, user_id, notification_key);

CREATE TABLE subscriptions (
  tenant_id INTEGER NOT NULL REFERENCES tenants (tenant_key),
  subscription_id INTEGER NOT NULL,  -- 1, 2, 3 … in the tenant
  subscriber_id TEXT NOT NULL,
  topic TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, subscription_id),
  UNIQUE (tenant_id, topic, subscriber_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX idx_subscriptions_subscriber ON subscriptions (tenant_id, subscriber_id, subscription_id);

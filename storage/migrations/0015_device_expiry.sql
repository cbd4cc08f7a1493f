-- A device whose time is over receives for nothing: its row stays, because a later list may give it more time.

CREATE INDEX device_by_expiry ON device (valid_until_ms) WHERE valid_until_ms IS NOT NULL AND profiles <> '{}';

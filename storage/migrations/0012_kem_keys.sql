-- A prekey is two public keys under one signature. What devices of version 1 left is of no use to anybody: they refill.

TRUNCATE one_time_key, fallback_key;
ALTER TABLE one_time_key ADD COLUMN kem_key bytea NOT NULL CHECK (octet_length(kem_key) = 1216);
ALTER TABLE fallback_key ADD COLUMN kem_key bytea NOT NULL CHECK (octet_length(kem_key) = 1216);
ALTER TABLE one_time_key ALTER COLUMN kem_key SET STORAGE EXTERNAL;  -- keys do not compress: do not try
ALTER TABLE fallback_key ALTER COLUMN kem_key SET STORAGE EXTERNAL;
COMMENT ON COLUMN one_time_key.kem_key IS 'MLKEM768_X25519: the ML-KEM-768 public key, then the X25519 one.';
COMMENT ON COLUMN fallback_key.kem_key IS 'As in one_time_key.';

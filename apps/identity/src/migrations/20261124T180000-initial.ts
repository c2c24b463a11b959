import { IDEMPOTENCY_TABLE } from '@berth/database';
import { OUTBOX_TABLE } from '@berth/events';
import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Initial1795543200000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE organization (
        id text COLLATE "C" CONSTRAINT organization_pkey PRIMARY KEY,
        name text NOT NULL CONSTRAINT organization_name UNIQUE,
        created_at timestamptz NOT NULL DEFAULT now()
      )`);
    await runner.query(`
      CREATE TABLE app_user (
        id text COLLATE "C" CONSTRAINT app_user_pkey PRIMARY KEY,
        email text NOT NULL CONSTRAINT app_user_email UNIQUE,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT app_user_email_lower CHECK (email = lower(email))
      )`);
    await runner.query(`
      CREATE TABLE membership (
        organization_id text COLLATE "C" NOT NULL CONSTRAINT membership_organization REFERENCES organization,
        user_id text COLLATE "C" NOT NULL CONSTRAINT membership_user REFERENCES app_user,
        role text NOT NULL CONSTRAINT membership_role CHECK (role IN ('member', 'manager', 'owner')),
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT membership_pkey PRIMARY KEY (organization_id, user_id)
      )`);
    await runner.query(`
      CREATE TABLE api_token (
        id text COLLATE "C" CONSTRAINT api_token_pkey PRIMARY KEY,
        secret_hash bytea NOT NULL CONSTRAINT api_token_secret_hash CHECK (octet_length(secret_hash) = 32),
        organization_id text COLLATE "C" NOT NULL,
        workspace_id text COLLATE "C" NOT NULL,
        user_id text COLLATE "C" NOT NULL,
        role text NOT NULL CONSTRAINT api_token_role CHECK (role IN ('member', 'manager', 'owner')),
        name text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz,
        revoked_at timestamptz,
        CONSTRAINT api_token_membership FOREIGN KEY (organization_id, user_id) REFERENCES membership
      )`);
    await runner.query('CREATE INDEX api_token_organization ON api_token (organization_id, id)');
    await runner.query(`
      CREATE TABLE admin_key (
        id text COLLATE "C" CONSTRAINT admin_key_pkey PRIMARY KEY,
        secret_hash bytea NOT NULL CONSTRAINT admin_key_secret_hash UNIQUE
          CONSTRAINT admin_key_secret_hash_length CHECK (octet_length(secret_hash) = 32),
        organization_id text COLLATE "C" NOT NULL,
        user_id text COLLATE "C" NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz,
        revoked_at timestamptz,
        CONSTRAINT admin_key_membership FOREIGN KEY (organization_id, user_id) REFERENCES membership
      )`);
    await runner.query(`
      CREATE TABLE audit_log (
        id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT audit_log_pkey PRIMARY KEY,
        organization_id text COLLATE "C" NOT NULL,
        actor text COLLATE "C" NOT NULL,
        credential_id text COLLATE "C" NOT NULL,
        action text NOT NULL,
        target_id text COLLATE "C" NOT NULL,
        request_id text NOT NULL,
        at timestamptz NOT NULL DEFAULT now()
      )`);
    await runner.query('CREATE INDEX audit_log_organization ON audit_log (organization_id, id)');
    await runner.query(OUTBOX_TABLE);
    await runner.query(IDEMPOTENCY_TABLE);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(
      'DROP TABLE idempotency, outbox, audit_log, admin_key, api_token, membership, app_user, organization',
    );
  }
}

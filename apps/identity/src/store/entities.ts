/** Rows as they are; properties are spelled as the columns are, so that a row of a query is one of these. */
import type { Role } from '@berth/contracts';
import {
  Check,
  Column,
  Entity,
  ForeignKey,
  Index,
  PrimaryColumn,
  PrimaryGeneratedColumn,
  Unique,
} from 'typeorm';

@Entity('organization')
@Unique('organization_name', ['name'])
export class Organization {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'organization_pkey' })
  id!: string;

  @Column({ type: 'text' })
  name!: string;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  created_at!: Date;
}

@Entity('app_user')
@Unique('app_user_email', ['email'])
@Check('app_user_email_lower', 'email = lower(email)')
export class AppUser {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'app_user_pkey' })
  id!: string;

  @Column({ type: 'text' })
  email!: string;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  created_at!: Date;
}

@Entity('membership')
@Check('membership_role', `role IN ('member', 'manager', 'owner')`)
export class Membership {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'membership_pkey' })
  @ForeignKey(() => Organization, { name: 'membership_organization' })
  organization_id!: string;

  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'membership_pkey' })
  @ForeignKey(() => AppUser, { name: 'membership_user' })
  user_id!: string;

  @Column({ type: 'text' })
  role!: Role;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  created_at!: Date;
}

@Entity('api_token')
@ForeignKey(() => Membership, ['organization_id', 'user_id'], ['organization_id', 'user_id'], {
  name: 'api_token_membership',
})
@Index('api_token_organization', ['organization_id', 'id'])
@Check('api_token_role', `role IN ('member', 'manager', 'owner')`)
@Check('api_token_secret_hash', 'octet_length(secret_hash) = 32')
export class ApiToken {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'api_token_pkey' })
  id!: string;

  @Column({ type: 'bytea' })
  secret_hash!: Buffer;

  @Column({ type: 'text', collation: 'C' })
  organization_id!: string;

  @Column({ type: 'text', collation: 'C' })
  workspace_id!: string;

  @Column({ type: 'text', collation: 'C' })
  user_id!: string;

  @Column({ type: 'text' })
  role!: Role;

  @Column({ type: 'text' })
  name!: string;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  created_at!: Date;

  @Column({ type: 'timestamptz', nullable: true })
  expires_at!: Date | null;

  @Column({ type: 'timestamptz', nullable: true })
  revoked_at!: Date | null;
}

/** Lets web requests in to the gated endpoints of one workspace; speaks for nobody. */
@Entity('proxy_token')
@Index('proxy_token_workspace', ['workspace_id', 'id'])
@Check('proxy_token_secret_hash', 'octet_length(secret_hash) = 32')
export class ProxyToken {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'proxy_token_pkey' })
  id!: string;

  @Column({ type: 'bytea' })
  secret_hash!: Buffer;

  @Column({ type: 'text', collation: 'C' })
  organization_id!: string;

  @Column({ type: 'text', collation: 'C' })
  workspace_id!: string;

  @Column({ type: 'text' })
  name!: string;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  created_at!: Date;

  @Column({ type: 'timestamptz', nullable: true })
  expires_at!: Date | null;

  @Column({ type: 'timestamptz', nullable: true })
  revoked_at!: Date | null;
}

@Entity('admin_key')
@Unique('admin_key_secret_hash', ['secret_hash'])
@ForeignKey(() => Membership, ['organization_id', 'user_id'], ['organization_id', 'user_id'], {
  name: 'admin_key_membership',
})
@Check('admin_key_secret_hash_length', 'octet_length(secret_hash) = 32')
export class AdminKey {
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'admin_key_pkey' })
  id!: string;

  @Column({ type: 'bytea' })
  secret_hash!: Buffer;

  @Column({ type: 'text', collation: 'C' })
  organization_id!: string;

  @Column({ type: 'text', collation: 'C' })
  user_id!: string;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  created_at!: Date;

  @Column({ type: 'timestamptz', nullable: true })
  expires_at!: Date | null;

  @Column({ type: 'timestamptz', nullable: true })
  revoked_at!: Date | null;
}

/** Who did what to what. Rows are added in the transaction that did it, and never changed. */
@Entity('audit_log')
@Index('audit_log_organization', ['organization_id', 'id'])
export class AuditLog {
  @PrimaryGeneratedColumn('identity', {
    type: 'bigint',
    generatedIdentity: 'ALWAYS',
    primaryKeyConstraintName: 'audit_log_pkey',
  })
  id!: string;

  @Column({ type: 'text', collation: 'C' })
  organization_id!: string;

  /** A user's id, or `service:<name>`. */
  @Column({ type: 'text', collation: 'C' })
  actor!: string;

  /** What the actor came with; empty for a service. */
  @Column({ type: 'text', collation: 'C' })
  credential_id!: string;

  @Column({ type: 'text' })
  action!: string;

  @Column({ type: 'text', collation: 'C' })
  target_id!: string;

  @Column({ type: 'text' })
  request_id!: string;

  @Column({ type: 'timestamptz', default: () => 'now()' })
  at!: Date;
}

/** MTA-STS policies, cached until they expire (RFC 8461 section 5.1). */
import type { Kysely } from 'kysely'
import type { MtaStsPoliciesTable, Tables } from './tables.js'

export interface KeptPolicy {
  readonly id: string
  readonly mode: MtaStsPoliciesTable['mode']
  readonly mx: readonly string[]
  readonly fetchedAt: Date
  readonly expiresAt: Date
}

export async function findPolicy(db: Kysely<Tables>, domain: string): Promise<KeptPolicy | null> {
  const row = await db.selectFrom('mta_sts_policies').selectAll().where('domain', '=', domain).executeTakeFirst()
  return row === undefined
    ? null
    : {
        id: row.id,
        mode: row.mode,
        mx: JSON.parse(row.mx) as string[],
        fetchedAt: new Date(row.fetched_at),
        expiresAt: new Date(row.expires_at),
      }
}

export async function keepPolicy(db: Kysely<Tables>, domain: string, policy: KeptPolicy): Promise<void> {
  const row = {
    id: policy.id,
    mode: policy.mode,
    mx: JSON.stringify(policy.mx),
    fetched_at: policy.fetchedAt.getTime(),
    expires_at: policy.expiresAt.getTime(),
  }
  await db
    .insertInto('mta_sts_policies')
    .values({ domain, ...row })
    .onConflict((conflict) => conflict.column('domain').doUpdateSet(row))
    .execute()
}

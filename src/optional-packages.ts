/** Packages that only some users need, and install themselves: optional peer dependencies. */

/** What needs which packages. */
export const OPTIONAL = {
  'direct delivery (direct.enabled)': ['mx-connect', 'mailauth/lib/mta-sts.js'],
  'the Nexus service (worker.nexus)': ['@temporalio/nexus', 'nexus-rpc'],
  'reading a mailbox (softbounce intake --imap)': ['imapflow'],
} as const

/** @throws Error naming the packages to install, if one is missing. */
export async function requirePackages(use: keyof typeof OPTIONAL): Promise<void> {
  const names = OPTIONAL[use]
  try {
    for (const name of names) await import(name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND' && (error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND')
      throw error
    throw new Error(
      `${use} needs packages that are not installed: npm install ${names.map((name) => /^(@[^/]+\/)?[^/]+/.exec(name)?.[0]).join(' ')}`,
    )
  }
}

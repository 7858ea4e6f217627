/** softbounce bounces: the bounces received, and what was done with each. */
import { type Command, InvalidArgumentError } from 'commander'
import { type Disposition, findQuarantined, listBounces } from '../store/index.js'
import { CommandFailed, json, table } from './output.js'
import { openingDatabase } from './with-database.js'

interface Options {
  unauthenticated?: boolean
  unread?: boolean
  show?: string
  limit: number
  json?: boolean
}

export function addBounces(program: Command): void {
  program
    .command('bounces')
    .description('list incoming bounces, newest first: what was done about each, and why')
    .option('--unauthenticated', 'only unauthenticated ones')
    .option('--unread', 'only unreadable ones')
    .option('--show <digest>', 'print a mail that is kept as it came; the beginning of its digest is enough')
    .option(
      '--limit <number>',
      'maximum number',
      (text: string) => {
        if (!/^\d{1,7}$/.test(text) || Number(text) === 0) throw new InvalidArgumentError('it must be a whole number from 1 to 9999999')
        return Number(text)
      },
      100,
    )
    .option('--json', 'print JSON, one object a line')
    .action((options: Options) =>
      openingDatabase(async (database) => {
        if (options.show !== undefined) {
          const mail = await findQuarantined(database.db, options.show.toLowerCase())
          if (mail === null)
            throw new CommandFailed(`no single unread mail ${options.show} is kept; softbounce bounces --unread lists them`)
          process.stdout.write(mail)
          return
        }
        const only: Disposition[] = [
          ...(options.unauthenticated ? (['unauthenticated'] as const) : []),
          ...(options.unread ? (['unreadable'] as const) : []),
        ]
        const rows: string[][] = []
        for await (const bounce of listBounces(database.db, only.length === 0 ? null : only, options.limit)) {
          const { event: _, ...shown } = bounce
          if (options.json) json(shown)
          else
            rows.push([
              bounce.at.toISOString(),
              bounce.disposition,
              bounce.recipient ?? bounce.cameTo ?? '',
              bounce.status ?? '',
              bounce.why,
            ])
        }
        table(rows)
      }),
    )
}

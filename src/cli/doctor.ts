/** softbounce doctor: says what will not work before mail is lost. */
import type { Command } from 'commander'
import { CommandFailed, json, line } from './output.js'

const SHOWN = { ok: 'ok     ', warning: 'warning', failure: 'FAILURE' } as const

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('check database, Temporal, worker, return path, relay, intake and Postfix; nothing is sent. Exit status 1 on a failure')
    .option('--domain <domain>', 'the domain of your senders, if returnPath.address ends with {domain}: its MX and SPF are checked')
    .option('--postfix-config <folder>', "Postfix's configuration folder, if it is not /etc/postfix")
    .option('--json', 'print JSON, one object a line')
    .action(async (options: { domain?: string; postfixConfig?: string; json?: boolean }) => {
      const { readSettings } = await import('../config/index.js')
      const { examine } = await import('../doctor/index.js')
      const found = await examine(readSettings(), { domain: options.domain ?? null, postfixConfig: options.postfixConfig ?? null })
      for (const finding of found) {
        if (options.json) json(finding)
        else line(`${SHOWN[finding.result]}  ${finding.check}: ${finding.text}`)
        if (!options.json && finding.action !== undefined) line(`         -> ${finding.action}`)
      }
      const failures = found.filter(({ result }) => result === 'failure').length
      if (failures > 0) throw new CommandFailed(`${failures === 1 ? 'one check' : `${failures} checks`} failed`)
    })
}

/** All commands: their names, and how to run one. */
import { Command, CommanderError } from 'commander'
import { VERSION } from '../version.js'
import { failed } from './output.js'

/** The module of each command. Only the requested command's module is loaded; all of them if it is none of these (--help). */
const MODULES: readonly (readonly [names: readonly string[], load: () => Promise<(program: Command) => void>])[] = [
  [['worker'], async () => (await import('./worker.js')).addWorker],
  [['intake'], async () => (await import('./intake.js')).addIntake],
  [['read'], async () => (await import('./read.js')).addRead],
  [['retry'], async () => (await import('./retry.js')).addRetry],
  [['status'], async () => (await import('./status.js')).addStatus],
  [['now', 'give-up', 'cancel'], async () => (await import('./signals.js')).addSteering],
  [['destinations', 'pause', 'resume', 'release'], async () => (await import('./destinations.js')).addDestinations],
  [['bounces'], async () => (await import('./bounces.js')).addBounces],
  [['report'], async () => (await import('./report.js')).addReport],
  [['list-check', 'history', 'forget'], async () => (await import('./recipients.js')).addRecipients],
  [['suppressions'], async () => (await import('./suppressions.js')).addSuppressions],
  [['migrate'], async () => (await import('./migrate.js')).addMigrate],
  [['codec-server'], async () => (await import('./codec-server.js')).addCodecServer],
  [['doctor'], async () => (await import('./doctor.js')).addDoctor],
  [['completion'], async () => (await import('./completion.js')).addCompletion],
  [['config'], async () => (await import('./config.js')).addConfig],
]

/** All commands, without running one. */
export async function commandNames(): Promise<Command> {
  const program = new Command('softbounce')
  await addCommands(program, [])
  return program
}

/** The name of the command: the first argument that is no option, and no value of `--config`. */
const commandIn = (args: readonly string[]): string => args.find((arg, i) => !arg.startsWith('-') && args[i - 1] !== '--config') ?? ''

/** Adds the wanted commands; without one, all that can run here: an application that only tracks has no Temporal. */
async function addCommands(program: Command, wanted: typeof MODULES): Promise<void> {
  if (wanted.length > 0) for (const [, load] of wanted) (await load())(program)
  else
    for (const [, load] of MODULES)
      try {
        ;(await load())(program)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error
      }
}

/**
 * Runs one command, and prints its output. Never rejects.
 * @returns the exit status: 0; 1 for a failure; 2 for wrong usage.
 */
export async function runCommand(args: readonly string[]): Promise<number> {
  const program = new Command('softbounce')
    .description('Retries soft-bounced e-mail durably, within each receiver’s limits. softbounce config shows the settings.')
    .version(VERSION)
    .option('--config <file>', 'the configuration file (default: softbounce.yaml here, or in the user’s configuration folder)')
    .configureHelp({ showGlobalOptions: true })
    .exitOverride()
  program.hook('preAction', () => {
    const { config } = program.opts<{ config?: string }>()
    if (config !== undefined) process.env.SOFTBOUNCE_CONFIG = config
  })
  const wanted = MODULES.filter(([names]) => names.includes(commandIn(args)))
  try {
    // a completion script names every command
    if (commandIn(args) === 'completion') await addCommands(program, [])
    else if (wanted.length > 0 || !/^(-V|--version)$/.test(args[0] ?? '')) await addCommands(program, wanted)
    await program.parseAsync(args, { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    return failed(error)
  }
}

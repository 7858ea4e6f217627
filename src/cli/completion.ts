/** softbounce completion: a script that completes commands and options in bash, zsh or fish. */
import type { Command } from 'commander'
import { CommandFailed } from './output.js'

/** A command with its subcommands, by its words: `suppressions filter`. */
interface Completed {
  readonly words: string
  readonly description: string
  readonly options: readonly { readonly flag: string; readonly description: string }[]
}

function commandsOf(command: Command, words: readonly string[] = []): Completed[] {
  return command.commands.flatMap((one) => [
    {
      words: [...words, one.name()].join(' '),
      description: one.description(),
      options: one.options.map(({ long, description }) => ({ flag: long ?? '', description })),
    },
    ...commandsOf(one, [...words, one.name()]),
  ])
}

const SHELLS: Readonly<Record<string, (all: readonly Completed[]) => string>> = {
  bash: (all) => `# eval "$(softbounce completion bash)"
_softbounce() {
  local words="\${COMP_WORDS[*]:1:COMP_CWORD-1}" current="\${COMP_WORDS[COMP_CWORD]}" found=""
  case "$words" in
${cases(all)}
  esac
  COMPREPLY=($(compgen -W "$found" -- "$current"))
  [ \${#COMPREPLY[@]} -eq 0 ] && COMPREPLY=($(compgen -f -- "$current"))
}
complete -F _softbounce softbounce
`,
  zsh: (all) => `#compdef softbounce
# source <(softbounce completion zsh)
_softbounce() {
  local words_before="\${(j: :)words[2,CURRENT-1]}" found=""
  case "$words_before" in
${cases(all)}
  esac
  compadd -- \${=found}
  _files
}
compdef _softbounce softbounce
`,
  fish: (all) =>
    `# softbounce completion fish | source
${all
  .map(({ words, description, options }) => {
    const parts = words.split(' ')
    const before = parts.slice(0, -1)
    const when = before.length === 0 ? '__fish_use_subcommand' : `__fish_seen_subcommand_from ${before.at(-1)}`
    const within = `__fish_seen_subcommand_from ${parts.at(-1)}`
    return [
      `complete -c softbounce -n '${when}' -a ${parts.at(-1)} -d '${quoted(description)}'`,
      ...options.map((option) => `complete -c softbounce -n '${within}' -l ${option.flag.slice(2)} -d '${quoted(option.description)}'`),
    ].join('\n')
  })
  .join('\n')}
`,
}

const quoted = (text: string) => text.replaceAll("'", '’').slice(0, 80)

/** The branches of a `case`, in bash and zsh: what may follow each command. */
const cases = (all: readonly Completed[]) =>
  nodes(all)
    .map(([words, next]) => `    ${words === '' ? "''" : `"${words}"*`}) found="${next}" ;;`)
    .join('\n')

/** What may follow each command, the longest command first. */
function nodes(all: readonly Completed[]): [string, string][] {
  const next = (words: string) =>
    all
      .filter(
        (one) =>
          one.words.startsWith(words === '' ? '' : `${words} `) &&
          one.words.split(' ').length === (words === '' ? 1 : words.split(' ').length + 1),
      )
      .map((one) => one.words.split(' ').at(-1))
  return [...all]
    .sort((one, other) => other.words.length - one.words.length)
    .map(({ words, options }): [string, string] => [words, [...next(words), ...options.map(({ flag }) => flag)].join(' ')])
    .concat([['', [...next(''), '--help', '--version', '--config'].join(' ')]])
}

export function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('print a script that completes commands and options: eval "$(softbounce completion bash)"')
    .argument('<shell>', 'bash, zsh or fish')
    .action((shell: string) => {
      const script = SHELLS[shell]
      if (script === undefined) throw new CommandFailed(`completion ${shell}: it must be ${Object.keys(SHELLS).join(', ')}`, 2)
      process.stdout.write(script(commandsOf(program)))
    })
}

// Generates docs/cli.md from the commands (as built). With --check, only verifies that it is up to date.
import { readFileSync, writeFileSync } from 'node:fs'
import { commandNames } from '../dist/cli/program.js'

const code = (text) => text.replaceAll('|', '\\|')
const cell = (text) => code(text).replaceAll('<', '&lt;')
const all = (command, words = []) =>
  command.commands.flatMap((one) => [{ words: [...words, one.name()], command: one }, ...all(one, [...words, one.name()])])

function part({ words, command }) {
  const given = command.registeredArguments.map((one) => {
    const name = `${one.name()}${one.variadic ? '...' : ''}`
    return one.required ? `<${name}>` : `[${name}]`
  })
  const rows = [
    ...command.registeredArguments.filter(({ description }) => description).map((one) => [one.name(), one.description]),
    ...command.options.map((one) => [
      one.flags,
      `${one.description}${one.defaultValue === undefined || one.defaultValue === false ? '' : ` (default: ${one.defaultValue})`}`,
    ]),
  ]
  const table =
    rows.length === 0 ? '' : `\n| | |\n|---|---|\n${rows.map(([name, text]) => `| \`${code(name)}\` | ${cell(text)} |`).join('\n')}\n`
  const text = command.description()
  return `## ${words.join(' ')}\n\n\`\`\`\nsoftbounce ${[...words, ...(command.options.length > 0 ? ['[options]'] : []), ...given].join(' ')}\n\`\`\`\n\n${text.charAt(0).toUpperCase()}${text.slice(1)}.\n${table}`
}

const page = `# Commands

\`softbounce COMMAND\`, in a project that has the package: \`npx softbounce COMMAND\`. This page is made from the commands' own help by \`npm run docs\`.

- Every command takes \`--config FILE\` ([settings](settings.md)) and \`--help\`; \`softbounce --version\` prints the version.
- Exit status: 0; 1 for a failure, or if the answer is no (\`suppressions check\`, a retry that was not started); 2 for wrong usage.
- \`--json\` prints JSON, one object a line. Output has no colours.
- \`eval "$(softbounce completion bash)"\` completes commands and options.

${all(await commandNames())
  .filter(({ command }) => command.commands.length === 0 || command.registeredArguments.length > 0 || command.options.length > 0)
  .map(part)
  .join('\n')}`

const file = new URL('../docs/cli.md', import.meta.url)
if (!process.argv.includes('--check')) writeFileSync(file, page)
else if (readFileSync(file, 'utf8') !== page) {
  console.error('docs/cli.md is not up to date: run npm run docs')
  process.exitCode = 1
}

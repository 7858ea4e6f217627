// Generates docs/settings.md from src/config/ (as built). With --check, only verifies that it is up to date.
import { readFileSync, writeFileSync } from 'node:fs'
import { SETTINGS } from '../dist/config/config.js'

const page = new URL('../docs/settings.md', import.meta.url)
const rows = Object.entries(SETTINGS).map(
  ([name, { default: value, doc, secret }]) =>
    `| \`${name}\` | ${value === '' ? '' : `\`${value}\``} | ${doc}${secret ? ' Masked wherever it is shown.' : ''} |`,
)
const text = `# Settings

Each setting is an environment variable; a \`.env\` file in the working directory is read too, and the environment wins over it. All are
checked when a command or the worker starts, and every fault is reported at once. \`softbounce config\` shows each value and where it came from.
This page is made from \`src/config/\` by \`npm run docs\`.

The connection to Temporal is set as for Temporal's own CLI: \`TEMPORAL_ADDRESS\`, \`TEMPORAL_NAMESPACE\`, \`TEMPORAL_API_KEY\`, \`TEMPORAL_TLS_…\`, or
a profile in \`temporal.toml\` chosen by \`TEMPORAL_PROFILE\`.

Durations are a number and a unit of s, min (or m), h or d: \`90s\`, \`4h\`, \`1h30m\`.

| setting | default | what it is |
|---|---|---|
${rows.join('\n')}
`

if (process.argv.includes('--check')) {
  if (readFileSync(page, 'utf8') !== text) {
    console.error('docs/settings.md is not what src/config/ says; run npm run docs')
    process.exit(1)
  }
} else writeFileSync(page, text)

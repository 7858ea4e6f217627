// Generates docs/settings.md, docs/softbounce.schema.json and src/config/options.ts from src/config/ (as built). With --check, only verifies that they are up to date.
import { readFileSync, writeFileSync } from 'node:fs'
import { allSettings, jsonSchema } from '../dist/config/schema.js'

const shown = (value) =>
  value === undefined || (Array.isArray(value) && value.length === 0)
    ? ''
    : `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``
const cell = (text) => text.replaceAll('|', '\\|')

const { properties } = jsonSchema()
const settings = allSettings()

/** The part of the page about a section, or about a setting of its own. */
function part([name, { description, properties: inner }]) {
  const own = settings.filter(({ path }) => path[0] === name)
  const rows = own.map(
    ({ name: full, default: value, doc, words, isSecret }) =>
      `| \`${full}\` | ${cell(shown(value))} | ${cell(doc)}${words === null ? '' : ` One of ${words.map((word) => `\`${word}\``).join(', ')}.`}${isSecret ? ' A secret.' : ''} |`,
  )
  return `## ${name}

${inner === undefined ? '' : `${description}\n\n`}| setting | default | what it is |
|---|---|---|
${rows.join('\n')}
`
}

const page = `# Settings

softbounce reads one file, \`softbounce.yaml\`: the one that \`--config\` or \`SOFTBOUNCE_CONFIG\` names, else the one in the working directory, else
\`softbounce/softbounce.yaml\` in the user's configuration folder (\`XDG_CONFIG_HOME\`, \`~/.config\`). No setting is needed but \`relay.url\` (or \`routes\`, or
\`direct.enabled\`), which says where retries go. There are ${settings.length}.

- \`softbounce config init\` writes a commented file with every setting; editors complete it by its JSON Schema ([softbounce.schema.json](softbounce.schema.json)).
- \`softbounce config check\` names what is wrong, with line and column, and what a worker still needs. \`softbounce config\` shows what differs from the defaults, and where it came from.
- Each setting may also be set in the environment, which wins: \`relay.url\` as \`SOFTBOUNCE_RELAY_URL\`, \`returnPath.keys\` as \`SOFTBOUNCE_RETURN_PATH_KEYS\`. A list is
  separated by commas; a table is written as YAML (or JSON): \`SOFTBOUNCE_ROUTES='[{destination: "*", host: 127.0.0.1, port: 2526}]'\`.
- A secret may also be in a file (Docker secrets): \`SOFTBOUNCE_RELAY_URL_FILE=/run/secrets/relay\`. Secrets are masked wherever they are shown.
- The library takes the same as typed options: \`track(transporter, { database: { url }, returnPath: { keys } })\`. It reads file and environment only by \`fromEnvironment()\`.

Durations are a number and a unit of s, min (or m), h or d: \`90s\`, \`4h\`, \`1h30m\`. Rates are a number by a unit of s, min or h: \`2/s\`, \`30/min\`.

The connection to Temporal is set as for Temporal's own CLI: \`TEMPORAL_ADDRESS\`, \`TEMPORAL_NAMESPACE\`, \`TEMPORAL_API_KEY\`, \`TEMPORAL_TLS_…\`, or a profile in
\`temporal.toml\` chosen by \`TEMPORAL_PROFILE\`. \`TEMPORAL_DEPLOYMENT_NAME\` and \`TEMPORAL_WORKER_BUILD_ID\` turn worker versioning on ([upgrade](how-to/upgrade.md#with-worker-versioning)).

This page is made from \`src/config/\` by \`npm run docs\`.

${Object.entries(properties).map(part).join('\n')}`

/** A part of the schema as TypeScript, with its documentation. */
function typeOf({ type, enum: words, properties, required = [], items, additionalProperties }, indent) {
  if (words !== undefined) return words.map((word) => `'${word}'`).join(' | ')
  if (type === 'array') {
    const inner = typeOf(items, indent)
    return `readonly ${/[ {]/.test(inner) && !inner.startsWith('{') ? `(${inner})` : inner}[]`
  }
  if (properties !== undefined) {
    const more = `${indent}  `
    const lines = Object.entries(properties).map(
      ([name, inner]) =>
        `${inner.description === undefined ? '' : `${more}/** ${inner.description} */\n`}${more}readonly ${name}${required.includes(name) ? '' : '?'}: ${typeOf(inner, more)}${required.includes(name) ? '' : ' | undefined'}\n`,
    )
    return `{\n${lines.join('')}${indent}}`
  }
  if (additionalProperties !== undefined) return `Readonly<Record<string, ${typeOf(additionalProperties, indent)}>>`
  return { integer: 'number', boolean: 'boolean', string: 'string' }[type]
}

const types = `/**
 * The configuration as it is written: in \`softbounce.yaml\`, and as options of the library. Made from schema.ts by \`npm run docs\`; a file of
 * its own, so that the types of an application that only tracks need nothing else.
 */

/** The configuration; every setting has a default or is optional. */
export interface Config ${typeOf(jsonSchema(), '')}
`

const wanted = {
  'docs/settings.md': page,
  'docs/softbounce.schema.json': `${JSON.stringify(jsonSchema(), null, 2)}\n`,
  'src/config/options.ts': types,
}
for (const [name, text] of Object.entries(wanted)) {
  const file = new URL(`../${name}`, import.meta.url)
  if (!process.argv.includes('--check')) writeFileSync(file, text)
  else if (readFileSync(file, 'utf8') !== text) {
    console.error(`${name} is not what src/config/ says; run npm run docs`)
    process.exitCode = 1
  }
}

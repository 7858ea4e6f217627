/** The manifests in deploy/: settings that this version knows, and names that agree. CI checks Kubernetes' own schemas too. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject'
import { expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { readSettings } from '../../src/config/config.js'
import { temporaryFolder } from '../support/databases.js'

const read = (name: string) => readFileSync(fileURLToPath(new URL(`../../deploy/${name}`, import.meta.url)), 'utf8')
const documents = parseAllDocuments(read('kubernetes.yaml')).map((one) => one.toJS())
const named = (kind: string, name: string) => documents.find((one) => one.kind === kind && one.metadata.name === name)

test('the settings and secret files of the Kubernetes manifests are read as they are written', () => {
  const folder = temporaryFolder()
  const config = join(folder.path, 'softbounce.yaml')
  writeFileSync(config, named('ConfigMap', 'softbounce').data['softbounce.yaml'])
  const { data } = named('ConfigMap', 'softbounce-environment')
  const secrets = join(folder.path, 'secrets')
  mkdirSync(secrets)
  const values: Record<string, string> = {
    'database-url': 'postgres://softbounce:secret@db.example/app',
    'relay-url': 'smtp://relay.example:25',
    'return-path-keys': Buffer.alloc(32, 1).toString('base64'),
    'http-token': 'secret-of-the-metrics',
  }
  // the comment at the head names the keys of the secret
  for (const [name, value] of Object.entries(values)) {
    expect(read('kubernetes.yaml')).toContain(`--from-literal=${name}=`)
    writeFileSync(join(secrets, name), value)
  }
  const mounted = '/run/secrets/softbounce'
  const environment = Object.fromEntries(
    Object.entries(data as Record<string, string>).map(([name, value]) => [
      name,
      name === 'SOFTBOUNCE_CONFIG' ? config : value.replace(mounted, secrets),
    ]),
  )
  const settings = readSettings(environment)
  expect(settings).toMatchObject({ httpPort: 8090, httpToken: values['http-token'], ehloDomain: 'softbounce.example' })
  expect(settings.database.url).toBe(values['database-url'])
  for (const name of ['softbounce-worker', 'softbounce-intake']) {
    const { spec } = named('Deployment', name).spec.template
    const [container] = spec.containers
    expect(container.volumeMounts.map((one: { mountPath: string }) => one.mountPath)).toEqual(['/tmp', '/etc/softbounce', mounted])
    expect(container.ports.find((one: { name: string }) => one.name === 'http').containerPort).toBe(settings.httpPort)
    expect(spec.securityContext).toMatchObject({ runAsNonRoot: true })
  }
  expect(named('Deployment', 'softbounce-worker').spec.template.spec.terminationGracePeriodSeconds * 1000).toBeGreaterThan(
    settings.shutdownGraceMs + settings.timeouts.finalDotMs,
  )
  folder.remove()
})

test('KEDA scales the workers by the backlog of the task queue that they poll', () => {
  const scaled = parse(read('keda.yaml'))
  new ScaledObject(scaled).validate()
  expect(() => new ScaledObject({ ...scaled, spec: { ...scaled.spec, triggers: 'temporal' } }).validate()).toThrow()
  expect(named('Deployment', scaled.spec.scaleTargetRef.name)).toBeDefined()
  const { data } = named('ConfigMap', 'softbounce-environment')
  const { taskQueue } = readSettings({})
  expect(scaled.spec.triggers[0].metadata).toMatchObject({ endpoint: data.TEMPORAL_ADDRESS, namespace: data.TEMPORAL_NAMESPACE, taskQueue })
})

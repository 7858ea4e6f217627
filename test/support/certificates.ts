/** Certificates of a CA of the test's own, made with openssl. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryFolder } from './databases.js'

export interface Certificates {
  readonly ca: string
  readonly key: string
  readonly cert: string
}

/** @param names what the certificate is for: `DNS:mx.example.org`, `IP:127.0.0.1`. */
export function makeCertificates(names: readonly string[]): Certificates {
  const folder = temporaryFolder()
  const openssl = (line: string) => execFileSync('openssl', line.split(' '), { stdio: 'pipe', cwd: folder.path })
  const read = (name: string) => readFileSync(join(folder.path, name))
  openssl('req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-CA')
  openssl('req -newkey rsa:2048 -nodes -keyout key.pem -out csr.pem -subj /CN=test')
  writeFileSync(join(folder.path, 'ext'), `subjectAltName=${names.join(',')}`)
  openssl('x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile ext')
  const made = {
    ca: read('ca.pem').toString(),
    key: read('key.pem').toString(),
    cert: read('cert.pem').toString() + read('ca.pem').toString(),
  }
  folder.remove()
  return made
}

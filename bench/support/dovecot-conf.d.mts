export const MAIL_UID: number
export function dovecotConf(settings: {
  readonly folder: string
  readonly port: number
  readonly maildir: string
  readonly tlsPort?: number
  readonly more?: string
}): string

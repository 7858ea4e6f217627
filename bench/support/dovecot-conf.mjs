// The configuration of a Dovecot for tests and benches: IMAP on a port of 127.0.0.1, with one mailbox.

/** The user `mail`, on Debian. */
export const MAIL_UID = 8

/**
 * @param settings `folder` of its own files and of `users` (the passwords), `port`, `maildir`; `tlsPort` for IMAPS, 0 for none; `more`:
 * further settings.
 */
export const dovecotConf = ({ folder, port, maildir, tlsPort = 0, more = 'ssl = no' }) => `protocols = imap
base_dir = ${folder}/run
state_dir = ${folder}/state
log_path = ${folder}/log
mail_location = maildir:${maildir}
first_valid_uid = ${MAIL_UID}
first_valid_gid = ${MAIL_UID}
disable_plaintext_auth = no
mail_max_userip_connections = 50
auth_failure_delay = 0
service imap-login {
  chroot =
  inet_listener imap {
    address = 127.0.0.1
    port = ${port}
  }
  inet_listener imaps {
    address = 127.0.0.1
    port = ${tlsPort}
    ssl = yes
  }
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
passdb {
  driver = passwd-file
  mechanisms = plain
  args = ${folder}/users
}
userdb {
  driver = static
  args = uid=${MAIL_UID} gid=${MAIL_UID} home=${maildir}
}
${more}
`

#!/usr/bin/env bash
# Makes the mails of this folder's real/ anew: real mail systems of Debian are made to return a real 4.3.2 and a real 5.1.1.
# Each is installed into an overlay of this machine that is thrown away, gets two messages for a receiving system that refuses them
# (sink.mjs), gives up at once, and sends its bounces back to the same sink. Everything talks on 127.0.0.1.
# Needs root on Debian, apt-get with a network, unshare and overlayfs; once for a corpus, never for a test.
#   sudo test/corpus/make-corpus.sh [postfix exim opensmtpd sendmail]
set -euo pipefail
cd "$(dirname "$0")"
here=$PWD
project=$(cd ../.. && pwd)
out=$here/real
mkdir -p "$out"

if [ "${1:-}" != --inside ]; then
  for mta in "${@:-postfix exim opensmtpd sendmail}"; do
    for one in $mta; do
      work=$(mktemp -d)
      mount -t tmpfs tmpfs "$work"
      mkdir "$work"/{up,work,root}
      mount -t overlay overlay -o "lowerdir=/,upperdir=$work/up,workdir=$work/work" "$work/root"
      for fs in proc dev; do mount --bind "/$fs" "$work/root/$fs"; done
      mkdir -p "$work/root/corpus"
      mount --bind "$here" "$work/root/corpus"
      mkdir -p "$work/root/corpus-project"
      mount --bind "$project" "$work/root/corpus-project"
      chroot "$work/root" /bin/bash /corpus/make-corpus.sh --inside "$one" || echo "$one: failed" >&2
      for fs in corpus-project corpus dev proc; do umount -l "$work/root/$fs"; done
      umount -l "$work/root"
      umount -l "$work"
      rmdir "$work"
    done
  done
  exit
fi

# inside the overlay, as root
mta=$2
export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
free_port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
sink_port=$(free_port)
port=$(free_port)
caught=$(mktemp -d)
(cd /corpus-project/test/corpus && exec node sink.mjs "$sink_port" "$caught") &
sink=$!
trap 'kill $sink 2>/dev/null || true' EXIT
install() { apt-get install -y --no-install-recommends "$@" >/tmp/install.log 2>&1 || { tail -5 /tmp/install.log; exit 1; }; }
hostname=mail.example.com

case $mta in
postfix)
  install postfix
  postconf -e "compatibility_level=3.6" "myhostname=$hostname" 'mydestination=' "relayhost=[127.0.0.1]:$sink_port" 'inet_interfaces=127.0.0.1' \
    'inet_protocols=ipv4' 'maximal_queue_lifetime=0' 'bounce_queue_lifetime=0' 'alias_maps=' 'alias_database=' 'mynetworks=127.0.0.0/8' 'maillog_file=/dev/stdout'
  postconf -M# smtp/inet
  postconf -Me "127.0.0.1:$port/inet=127.0.0.1:$port inet n - n - - smtpd"
  sed -i -E 's/^([a-z]+ +(unix|inet|pass|fifo) +[^ ]+ +[^ ]+ +)y( )/\1n\3/' /etc/postfix/master.cf
  postfix start >/dev/null 2>&1 || true
  stop() { postfix stop >/dev/null 2>&1 || true; }
  ;;
exim)
  install exim4-daemon-light
  cat >/etc/exim.conf <<EOF
primary_hostname = $hostname
local_interfaces = 127.0.0.1
daemon_smtp_ports = $port
tls_advertise_hosts =
domainlist local_domains =
acl_smtp_rcpt = acl_all
log_file_path = /tmp/exim-%slog
spool_directory = /var/spool/exim4
trusted_users = root
begin acl
acl_all:
  accept
begin routers
all:
  driver = manualroute
  route_list = * 127.0.0.1::$sink_port byname
  self = send
  transport = remote
begin transports
remote:
  driver = smtp
  hosts_try_chunking =
  hosts_avoid_tls = *
begin retry
EOF
  chown root:root /etc/exim.conf
  exim4 -C /etc/exim.conf -bd -q10s
  stop() { pkill -f 'exim4 -C /etc/exim.conf' || true; }
  ;;
opensmtpd)
  install opensmtpd
  cat >/etc/smtpd.conf <<EOF
queue ttl 1h
bounce warn-interval 1s
listen on 127.0.0.1 port $port hostname $hostname
action "relay" relay host smtp://127.0.0.1:$sink_port
match from any for any action "relay"
EOF
  echo "$hostname" >/etc/mailname
  smtpd -f /etc/smtpd.conf
  stop() { pkill smtpd || true; }
  ;;
sendmail)
  install sendmail-bin sendmail-cf m4
  cat >/etc/mail/corpus.mc <<EOF
include(\`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(\`debian')dnl
DOMAIN(\`debian-mta')dnl
undefine(\`confHOST_STATUS_DIRECTORY')dnl
define(\`confDOMAIN_NAME', \`$hostname')dnl
define(\`SMART_HOST', \`relay:[127.0.0.1]')dnl
define(\`RELAY_MAILER_ARGS', \`TCP \$h $sink_port')dnl
define(\`confTO_QUEUERETURN', \`1s')dnl
define(\`confTO_QUEUEWARN', \`0')dnl
define(\`confTO_IDENT', \`0')dnl
define(\`confDONT_BLAME_SENDMAIL', \`GroupReadableSASLDBFile')dnl
FEATURE(\`accept_unresolvable_domains')dnl
FEATURE(\`promiscuous_relay')dnl
FEATURE(\`no_default_msa')dnl
DAEMON_OPTIONS(\`Family=inet, Name=MTA, Port=$port, Addr=127.0.0.1')dnl
MAILER(\`smtp')dnl
EOF
  (cd /etc/mail && m4 corpus.mc >corpus.cf)
  sed -i '/^Cw/d; /^Fw/d' /etc/mail/corpus.cf
  mkdir -p /var/run/sendmail/mta /var/spool/mqueue
  /usr/libexec/sendmail/sendmail -C /etc/mail/corpus.cf -bd -q2s 2>/dev/null || /usr/lib/sm.bin/sendmail -C /etc/mail/corpus.cf -bd -q2s
  stop() { pkill sendmail || true; }
  ;;
esac

send() { # RECIPIENT
  local message=/tmp/message-$1.eml
  {
    printf 'Date: %s\r\nFrom: Example Shop <shop@example.com>\r\nTo: %s@example.org\r\nSubject: Your invoice\r\nMessage-ID: <invoice-%s@example.com>\r\n' "$(date -R)" "$1" "$1"
    printf 'MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nThank you for your order.\r\n'
  } >"$message"
  for _ in $(seq 50); do
    if swaks --helo shop.example.com --server "127.0.0.1:$port" --from bounces@example.com --to "$1@example.org" --data "@$message" --suppress-data >/tmp/swaks.log 2>&1; then return; fi
    sleep 0.2
  done
  cat /tmp/swaks.log >&2
  return 1
}
collect() { # NAME
  for _ in $(seq 600); do
    found=$(ls "$caught" | head -1)
    [ -n "$found" ] && break
    sleep 0.2
  done
  [ -n "$found" ] || { echo "$mta: no bounce for $1" >&2; stop; exit 1; }
  sleep 0.3
  mv "$caught/$found" "/corpus/real/$mta-$1.eml"
  echo "$mta-$1.eml"
}
command -v swaks >/dev/null || install swaks
for who in down gone; do
  send "$who"
  collect "$who"
done
stop

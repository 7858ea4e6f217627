#!/usr/bin/env bash
# Makes the notifications of this folder anew, with a real Postfix that meets a receiving system which says 4.3.2:
# an smtp-sink that answers every connection with "421 4.3.2", and a Postfix that gives up at once.
# Needs Debian's packages postfix and swaks, and root (Postfix changes users). Everything runs on 127.0.0.1 and in a temporary folder.
#   sudo examples/make-notifications.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")"
out=${1:-$PWD}
work=$(mktemp -d)
chmod 755 "$work"
free_port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
sink_port=$(free_port)
smtpd_port=$(free_port)

mkdir -p "$work"/{etc,queue,data,mail}
chown postfix "$work"/data "$work"/mail
cp /etc/postfix/postfix-files /etc/postfix/dynamicmaps.cf "$work"/etc/ 2>/dev/null || true
cat >"$work"/etc/main.cf <<EOF
compatibility_level = 3.6
queue_directory = $work/queue
data_directory = $work/data
maillog_file = $work/maillog
maillog_file_prefixes = $work
myhostname = mail.example.com
mydomain = example.com
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
relayhost = [127.0.0.1]:$sink_port
maximal_queue_lifetime = 0
bounce_queue_lifetime = 0
virtual_mailbox_domains = example.com
virtual_mailbox_base = $work/mail
virtual_mailbox_maps = static:bounces/
virtual_uid_maps = static:$(id -u postfix)
virtual_gid_maps = static:$(id -g postfix)
virtual_transport = virtual
alias_maps =
alias_database =
import_environment = MAIL_CONFIG
EOF
sed -e "s/^smtp      inet.*/127.0.0.1:$smtpd_port inet n - n - - smtpd/" /usr/share/postfix/master.cf.dist >"$work"/etc/master.cf
sed -i -E 's/^([a-z]+ +(unix|inet|pass|fifo) +[^ ]+ +[^ ]+ +)y( )/\1n\3/; s/^(127[^ ]+ +inet +n +- +)y/\1n/' "$work"/etc/master.cf
grep -q '^postlog' "$work"/etc/master.cf || echo 'postlog unix-dgram n - n - 1 postlogd' >>"$work"/etc/master.cf

smtp-sink -u postfix -b '421 4.3.2 System not accepting network messages' -r RCPT "127.0.0.1:$sink_port" 100 &
sink=$!
trap 'kill $sink 2>/dev/null || true; postfix -c "$work/etc" stop 2>/dev/null || true; rm -rf "$work"' EXIT
postfix -c "$work/etc" start 2>/dev/null

make() { # NAME RECIPIENT SUBJECT
  local message=$work/$1.eml
  {
    printf 'Date: %s\r\nFrom: Example Shop <shop@example.com>\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: <%s@example.com>\r\n' "$(date -R)" "$2" "$3" "$1"
    printf 'MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n'
    printf 'Thank you for your order. Your invoice over 12,00 € is attached to your account.\r\n.. and this line begins with two dots.\r\n'
  } >"$message"
  swaks --helo shop.example.com --server "127.0.0.1:$smtpd_port" --from bounces@example.com --to "$2" --data "@$message" --suppress-data >/dev/null
  for _ in $(seq 100); do
    found=$(ls "$work"/mail/bounces/new 2>/dev/null | head -1 || true)
    [ -n "$found" ] && break
    sleep 0.1
  done
  [ -n "$found" ] || { echo "no notification came for $2:" >&2; cat "$work"/maillog >&2; exit 1; }
  mv "$work/mail/bounces/new/$found" "$out/$1.eml"
}

make invoice-4711 ann@comes-back.example 'Your invoice 4711'
make invoice-4712 bob@stays-down.example 'Your invoice 4712'
make invoice-4713 eve@moved-away.example 'Your invoice 4713'
ls "$out"/*.eml

/**
 * The configuration as it is written: in `softbounce.yaml`, and as options of the library. Made from schema.ts by `npm run docs`; a file of
 * its own, so that the types of an application that only tracks need nothing else.
 */

/** The configuration; every setting has a default or is optional. */
export interface Config {
  /** Where suppressions, attempts and stored messages are kept. */
  readonly database?: {
    /** `file:PATH` (SQLite) or `postgres://user:password@host/name`, with `?sslmode=verify-full&sslrootcert=FILE` for TLS. A password is percent-encoded. Default: a SQLite file of the user, `softbounce/softbounce.db` in `XDG_STATE_HOME` (`~/.local/state`). */
    readonly url?: string | undefined
    /** PostgreSQL: the schema that holds all tables. The database may hold other schemas, such as your application’s. */
    readonly schema?: string | undefined
    /** PostgreSQL: the schema that holds the state of destinations and their open connections, if several fleets share their limits; the same for each of them. Left out: each fleet keeps its own, in `database.schema`. */
    readonly throttleSchema?: string | undefined
  } | undefined
  /** The relay (smarthost) that retries go through. */
  readonly relay?: {
    /** The relay: `smtp://user:password@host:587` (without a port: 25), or `smtps://` for TLS from the first byte. In user and password, write `@` as `%40`, `/` as `%2F`, `#` as `%23`. */
    readonly url?: string | undefined
    /** The mail provider behind `relay.url` (and behind a tracked transporter). Its webhooks then name the send that they are about, and its documented rate is the default of `relay.maxMessageRate` ([providers](providers.md)). */
    readonly provider?: 'ses' | 'sendgrid' | 'mailgun' | 'postmark' | 'resend' | undefined
    /** TLS towards the relay. Default: `verify` if `relay.url` has a password, else `opportunistic`. A password is sent without verified TLS only to this machine itself. */
    readonly tls?: 'verify' | 'opportunistic' | 'off' | undefined
    /** File with the PEM certificates of the private CA that signed the certificates of relay and backup relay. */
    readonly caFile?: string | undefined
    /** Set it if the relay is an SMTP proxy without a queue: it replies only after the receiving system has, with that system’s reply, which then counts. Leave it off for Postfix, Exim and providers. */
    readonly transparent?: boolean | undefined
    /** The rate at which all workers together contact the relay (a provider’s `14/s`). Default: that of `relay.provider`, else unlimited. */
    readonly maxMessageRate?: string | undefined
    /** Maximum connections to the relay at once, of all workers together. */
    readonly connectionLimit?: number | undefined
    /** How long to wait for a report after a relay accepted a message. It must be longer than the relay’s queue lifetime: a stock mail server gives up after 5 d and up to an hour more, and only then returns the message. No retry is sent meanwhile. After silence for this long, the message counts as delivered, unconfirmed. */
    readonly confirmWithin?: string | undefined
    /** A second relay, for messages with `urgent: { "via": "backup-relay" }`: each goes through it once, at once, beside its retries. A password is sent over verified TLS only. */
    readonly backupUrl?: string | undefined
  } | undefined
  /** Static routes: destinations whose mail goes straight to a host, which counts as the receiving system itself. A destination is a receiving system, not a recipient’s domain: a name in `throttle.groups`, else the registrable domain of its mail host. `destination: "*"` stands for every one without a route of its own. */
  readonly routes?: readonly {
    /** The destination, or `*` for all. */
    readonly destination: string
    /** Host name or address. */
    readonly host: string
    /** The port. */
    readonly port?: number | undefined
  }[] | undefined
  /** Direct delivery, to the MX hosts of the recipient’s domain, instead of a relay. */
  readonly direct?: {
    /** Deliver directly. Leave `relay.url` out then; `routes` may still name single destinations. */
    readonly enabled?: boolean | undefined
    /** Follow the MTA-STS policy of the receiving domain (RFC 8461): verified TLS if the policy demands it, and never clear text instead. */
    readonly mtaSts?: boolean | undefined
    /** Check certificates by TLSA records (RFC 7672). It needs name servers that validate DNSSEC, and Node 22.15 or later, which can look these records up. */
    readonly dane?: boolean | undefined
    /** Name servers for direct delivery, such as `192.0.2.53` or `127.0.0.1:5353`. Default: this machine’s. */
    readonly dnsServers?: readonly string[] | undefined
    /** Also connect to mail hosts whose addresses are not public (loopback, private, link-local and the like). Off by default, since a stranger’s domain may name hosts of your own network. */
    readonly allowPrivateMx?: boolean | undefined
    /** The port of mail hosts: 25, except for tests. */
    readonly port?: number | undefined
    /** DKIM keys: messages that are sent directly or by a route are signed if their author’s domain has a key. */
    readonly dkim?: readonly {
      /** The domain that is signed for. */
      readonly domain: string
      /** The selector of the key. */
      readonly selector: string
      /** File with the private key, PEM. */
      readonly keyFile: string
    }[] | undefined
  } | undefined
  /** SMTP sessions. */
  readonly smtp?: {
    /** The name in EHLO. Default: this machine’s name. */
    readonly ehloDomain?: string | undefined
    /** Local addresses that direct delivery connects from: one IPv4, one IPv6, or both. With only one, mail hosts of the other family cannot be reached. */
    readonly bindAddresses?: readonly string[] | undefined
    /** How long to wait for a server; the defaults are those of RFC 5321 4.5.3.2. */
    readonly timeouts?: {
      /** To connect. */
      readonly connect?: string | undefined
      /** For the banner, and for the reply to EHLO, STARTTLS, AUTH, MAIL and RCPT, each. */
      readonly command?: string | undefined
      /** For the reply to DATA, and for each 64 KiB of the message to be accepted. */
      readonly data?: string | undefined
      /** For the reply to the message itself. */
      readonly finalDot?: string | undefined
    } | undefined
  } | undefined
  /** Your own mail hosts: names (`*.example.com` for all below a domain), addresses or networks (`10.0.0.0/8`). A bounce whose Remote-MTA is one of them is no evidence about any destination; with `intake.trusted`, bounces that they made are authenticated. */
  readonly ownHosts?: readonly string[] | undefined
  /** Which bounces are retried, and when. */
  readonly retry?: {
    /** The delays: the first counts from the bounce, each other from the previous retry. At most 20, each from 1 s to 30 d. */
    readonly schedule?: readonly string[] | undefined
    /** Other schedules on trial, each with the share of the messages that get it: `20 %: 30m, 2h, 8h, 24h`. The others get `retry.schedule`. A hash of message and recipient decides, so a message keeps its schedule. `softbounce report` compares them. */
    readonly schedules?: Readonly<Record<string, string>> | undefined
    /** Enhanced status codes that are retried, of class 4: `4.3.2` (system not accepting network messages), `4.4.*`. Other temporary failures are not. Replies that mean 4.3.2 without saying it (421, 453, known texts) count as 4.3.2. */
    readonly statuses?: readonly string[] | undefined
  } | undefined
  /** Suppression of addresses that all retries failed for. */
  readonly suppression?: {
    /** How long an address is suppressed because all retries failed: the first time, and each further time that a new outage begins within 90 days after the last suppression ended; then always the last. */
    readonly steps?: readonly string[] | undefined
    /** When a destination accepts mail again, the suppressions that its unavailability caused expire within this time, spread out. */
    readonly restoreWithin?: string | undefined
  } | undefined
  /** Stored messages. */
  readonly store?: {
    /** How long a message is kept after it was last used. One that a retry still needs is never deleted. */
    readonly messageRetention?: string | undefined
  } | undefined
  /** Limits per destination, which hold across all workers. A destination is one receiving system: a name in `throttle.groups`, else the registrable domain of its mail host (`google.com` for all domains that it hosts). */
  readonly throttle?: {
    /** The message rate at which a destination is contacted at first, and after it failed (`2/s`, `30/min`). Default: `1/s`, or `maxMessageRate` if that is lower. */
    readonly minMessageRate?: string | undefined
    /** The highest message rate to a destination, however well it accepts messages. */
    readonly maxMessageRate?: string | undefined
    /** Maximum connections to a destination at once, of all workers together; at first 1. */
    readonly connectionLimit?: number | undefined
    /** Maximum messages in one SMTP session. */
    readonly maxDeliveriesPerConnection?: number | undefined
    /** After this many failures in a row (4.3.2, 421, refused or timed-out connections) a destination counts as down. */
    readonly failuresBeforeDown?: number | undefined
    /** How often a destination that is down is probed, with one message. */
    readonly probeInterval?: string | undefined
    /** How long a retry that is due waits for a destination that is down; then it is tried all the same, at the lowest rate. */
    readonly maxQueueDelay?: string | undefined
    /** When a destination that was down accepts mail again, send the retries that wait for it early, spread over this time; at most once an hour. Left out: they keep their schedule. */
    readonly releaseWithin?: string | undefined
    /** Mail hosts that belong to one destination. Hosts in no group are grouped by their registrable domain. */
    readonly groups?: readonly {
      /** The name of the destination. */
      readonly name: string
      /** Mail hosts, such as `*.google.com`. */
      readonly hosts: readonly string[]
    }[] | undefined
    /** Limits of single destinations, by name. */
    readonly destinations?: Readonly<Record<string, {
      /** As `throttle.minMessageRate`. */
      readonly minMessageRate?: string | undefined
      /** As `throttle.maxMessageRate`. */
      readonly maxMessageRate?: string | undefined
      /** As `throttle.connectionLimit`. */
      readonly connectionLimit?: number | undefined
      /** As `throttle.maxDeliveriesPerConnection`. */
      readonly maxDeliveriesPerConnection?: number | undefined
    }>> | undefined
  } | undefined
  /** Signed return paths, by which a bounce proves that it answers your mail. */
  readonly returnPath?: {
    /** The keys that sign return paths: base64 of at least 16 bytes each (`openssl rand -base64 32`). The first signs, all of them verify. `track` needs one; applications, worker and intake need the same ones. Put a new key in front, and keep the old one until its return paths have expired: the whole schedule, and `relay.confirmWithin` for the message and each retry (33 d with the defaults). */
    readonly keys?: readonly string[] | undefined
    /** The return path of tracked messages and of retries, if `returnPath.keys` is set: `{token}` stands for the signature, `{domain}` for the sender’s domain. Mail to it must reach `softbounce intake` or `softbounce take`, and no other mail should: use a subdomain (`bounce+{token}@bounces.{domain}`) if the whole domain is led there. */
    readonly address?: string | undefined
  } | undefined
  /** Where bounces come in. */
  readonly intake?: {
    /** Where `softbounce intake` listens for LMTP: `127.0.0.1:2003`, or `unix:/run/softbounce/lmtp.sock`. */
    readonly listen?: string | undefined
    /** Only your own mail system can deliver to the intake: then bounces that a host in `ownHosts` made itself are authenticated without a signed return path. Anyone else who reached it could start retries and suppress addresses. */
    readonly trusted?: boolean | undefined
    /** Largest mail that the intake accepts, in MiB. */
    readonly maxSize?: number | undefined
    /** How many reports `softbounce bounces` keeps. Beyond that, the oldest are deleted, unauthenticated ones first. Reports that would act again if they came again are not counted. */
    readonly maxReports?: number | undefined
    /** How much mail and how many webhooks are kept in quarantine, in MiB: those that cannot be read, and bounces of another store. Beyond that, the oldest of the sender that holds most is deleted. */
    readonly maxQuarantine?: number | undefined
    /** How many webhooks may wait to be processed. Beyond that they get a 503, and the provider sends them again. */
    readonly maxWaitingWebhooks?: number | undefined
    /** The mailbox that `softbounce intake --imap` reads. */
    readonly imap?: {
      /** The mailbox: `imaps://user:password@host/INBOX`, or `imap://` for STARTTLS, which is required except on this machine itself. */
      readonly url?: string | undefined
      /** File with an OAuth2 access token, instead of a password. It is read at each login, so a renewed token needs no restart. */
      readonly tokenFile?: string | undefined
      /** The folder that processed mails are moved to. Left out: they are marked as read. None is deleted. */
      readonly processedFolder?: string | undefined
      /** The folder for mails that cannot be read, or that are larger than `intake.maxSize`. */
      readonly quarantineFolder?: string | undefined
    } | undefined
  } | undefined
  /** Mail providers, whose webhooks report bounces. */
  readonly providers?: {
    /** Amazon SES. */
    readonly ses?: {
      /** The Amazon SNS topics that report about your mail: with them, the intake accepts `/notifications/ses` on `http.port`. A subscription is confirmed only for them. */
      readonly topicArns?: readonly string[] | undefined
    } | undefined
    /** SendGrid. */
    readonly sendgrid?: {
      /** The verification key of the signed Event Webhook, as SendGrid shows it: accepts `/notifications/sendgrid`. */
      readonly verificationKey?: string | undefined
    } | undefined
    /** Mailgun. */
    readonly mailgun?: {
      /** The HTTP webhook signing key of the account: accepts `/notifications/mailgun`. */
      readonly signingKey?: string | undefined
    } | undefined
    /** Postmark. */
    readonly postmark?: {
      /** A secret of your own (`openssl rand -hex 24`) that Postmark’s webhooks send, as the password of basic authentication or in the header `X-Softbounce-Secret`: accepts `/notifications/postmark`. */
      readonly webhookSecret?: string | undefined
    } | undefined
    /** Resend. */
    readonly resend?: {
      /** The signing secret of the webhook (`whsec_…`): accepts `/notifications/resend`. */
      readonly webhookSecret?: string | undefined
    } | undefined
    /** The API of the provider’s suppression list: when a suppression for unavailability ends, the address is removed from the provider’s list too, if it is there for a bounce. Within 15 minutes. */
    readonly api?: {
      /** The key of the provider’s API; it turns the removal on. SendGrid’s or Mailgun’s API key, Postmark’s server token, or for SES `ACCESS_KEY_ID:SECRET_ACCESS_KEY` of a user that may `ses:GetSuppressedDestination` and `ses:DeleteSuppressedDestination`. The provider is `relay.provider`. */
      readonly key?: string | undefined
      /** Where the provider’s API is: for SES `https://email.eu-west-1.amazonaws.com` of your region, for Mailgun `https://api.mailgun.net/v3/mg.example.com` with your domain, both needed. Default for SendGrid `https://api.sendgrid.com`, for Postmark `https://api.postmarkapp.com/message-streams/outbound`. */
      readonly url?: string | undefined
    } | undefined
  } | undefined
  /** Events for other systems; they hold message and recipient, never a body. */
  readonly events?: {
    /** A Standard Webhooks endpoint. */
    readonly webhook?: {
      /** The endpoint. It gets `bounce.retrying` when the retries of an urgent message start, and the events of `events.publish`. */
      readonly url?: string | undefined
      /** The secret that webhooks are signed with: `whsec_` and base64. */
      readonly secret?: string | undefined
    } | undefined
    /** Events that are published for every message and destination, urgent or not. */
    readonly publish?: readonly ('bounce.retrying' | 'bounce.delivered' | 'bounce.suppressed' | 'bounce.rejected' | 'bounce.expired' | 'destination.down' | 'destination.up' | 'destination.degrading')[] | undefined
    /** The Temporal task queue of a worker of your own, in any SDK, whose activity `notifyAlternative` gets the same events as the webhook. */
    readonly taskQueue?: string | undefined
    /** Which messages are urgent, beside those that say so: `{ header: X-Priority, value: 1* }`, `{ sender: "*@billing.example" }` or `{ recipient: "*@vip.example" }`. `*` matches anything. */
    readonly urgentRules?: readonly {
      /** Name of a header field. */
      readonly header?: string | undefined
      /** What the header field’s value must match. */
      readonly value?: string | undefined
      /** What the envelope sender must match. */
      readonly sender?: string | undefined
      /** What the recipient must match. */
      readonly recipient?: string | undefined
    }[] | undefined
  } | undefined
  /** Encryption of payloads in Temporal ([how to](how-to/encrypt-payloads.md)). */
  readonly encryption?: {
    /** Keys that payloads in Temporal are encrypted with (AES-256-GCM). The first encrypts, all of them decrypt. Worker, intake and commands need the same ones. */
    readonly keys?: readonly {
      /** Name of the key. */
      readonly id: string
      /** 32 bytes in base64 (`openssl rand -base64 32`). */
      readonly key: string
    }[] | undefined
    /** The key of the HMAC that stands for address and Message-ID in workflow IDs and search attributes: 32 bytes in base64. Needed with `encryption.keys`. It never changes, so that one message always has one workflow ID. */
    readonly idKey?: string | undefined
    /** Begins the path of `softbounce codec-server` in the Web UI, so that nobody else can have payloads decrypted: `http://host:8081/TOKEN`. Needed if it listens beyond this machine. */
    readonly codecToken?: string | undefined
  } | undefined
  /** The pages of a worker or an intake: `/healthz`, `/metrics`, `/metrics/temporal` (those of Temporal’s SDK) and `/report`; an intake also accepts `/notifications/PROVIDER`. */
  readonly http?: {
    /** Address that the pages are served on. Beyond this machine only with `http.token`. */
    readonly host?: string | undefined
    /** Port of the pages; none if left out. A worker and an intake on one machine need one each. */
    readonly port?: number | undefined
    /** Address of Temporal’s Web UI, for the links of `/report`. Default: if Temporal is on this machine, its port plus 1000, as its dev server has it (`http://localhost:8233`); for Temporal Cloud, its own; else the page has no links. */
    readonly webUi?: string | undefined
    /** What `/metrics` and `/metrics/temporal` require as `Authorization: Bearer TOKEN` (Prometheus: `authorization`), and `/report` as that or as a browser’s password. Without it, `/report` is shown on this machine only. `/healthz` needs none, and webhooks are authenticated by their signatures. */
    readonly token?: string | undefined
  } | undefined
  /** The worker process. */
  readonly worker?: {
    /** Maximum SMTP transactions that one worker has open at once. */
    readonly maxConcurrentSends?: number | undefined
    /** How long a stopping worker lets running transactions finish. Those still open then are stopped if that is safe, and another worker continues. */
    readonly shutdownGrace?: string | undefined
    /** The task queue that workers poll, and on which clients start retries. A second fleet in the same namespace needs a name of its own; all its processes need the same. */
    readonly taskQueue?: string | undefined
    /** Whether the worker serves the Nexus service `softbounce`, through which workflows of other namespaces start and control retries. */
    readonly nexus?: boolean | undefined
  } | undefined
  /** Logging. */
  readonly log?: {
    /** Which lines are logged. */
    readonly level?: 'debug' | 'info' | 'warn' | 'error' | undefined
  } | undefined
}

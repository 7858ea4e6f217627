/**
 * Words of notices in the languages of the large mail systems: English, German, French, Dutch, Spanish, Portuguese, Italian, Polish, Russian,
 * Japanese and Chinese. They only tell that a delivery failed, or is delayed; whom a notice is about is found without them.
 */

const FAILURE = new RegExp(
  [
    "(?:not|n't|never|un|cannot) ?(?:be |been |yet been |yet |able to )?(?:deliver|reach|accept|sent|send|found|complet|process|receiv|recogni[sz]|listed|collected|allowed|exist|a valid|a member|available)",
    'undeliver|unable to|fail(?:ed|ure|ing)|reject|bounce|returned|refus|unknown|denied|exceed|\\bfull\\b|expired|delayed|invalid|unrouteable|not a member|error|trouble|problem|disabled|still trying|warning|duplicate|\\bloop',
    // German
    'nicht (?:zu|be|aus|über|erreich|gefunden|möglich|angenommen)|unzustellbar|fehlgeschlagen|fehler|verzöger|abgelehnt|zurückgewiesen|überschritten',
    // French
    "n['’]a (?:pas|pu)|n['’]ont pas|impossible|échec|échoué|non remis|refusé|rejeté|retard|erreur|introuvable",
    // Dutch
    'niet (?:worden |kan |kunnen )?(?:bezorg|afgelever|verzonden|gevonden|bereik)|onbestelbaar|mislukt|geweigerd|vertraagd|fout',
    // Spanish, Portuguese, Italian
    'no (?:se )?(?:ha |pudo|puede|fue|entregad)|fall[óo]|fallido|rechazad|não (?:foi|pôde|pode|entreg|p[ôo]de)|falh|rejeitad|non (?:è|e|ha|può|recapit|consegn|riuscit)|impossibile|errore|rifiutat|ritard|retras|atras',
    // Polish
    'nie (?:może|mogł|został|dostarcz|udał|istnieje|można)|niedostarcz|błąd|odrzucon|opóźni',
    // Russian
    'не (?:удалось|может|была|было|был|доставлен|найден|существует)|недоставлен|ошибк|отклон|невозможно|задерж',
    // Japanese, Chinese
    '失敗|できません|できなかった|できませんでした|エラー|配信不能|返送|存在しません|拒否|遅延|失败|无法|無法|退信|退回|错误|錯誤|拒绝|拒絕|不存在|未能|延迟|延遲',
  ].join('|'),
)

/** True if a text (in lower case) speaks of a delivery that failed or is delayed. Words within addresses do not count. */
export const saysFailure = (lower: string): boolean =>
  FAILURE.test(
    lower
      .split(' ')
      .filter((word) => !word.includes('@'))
      .join(' '),
  )

/** True if a text (in lower case) speaks of mail and its recipients. */
export const saysMail = (lower: string): boolean =>
  /deliver|recipient|mailbox|your (?:mail|message|e-?mail)|zustell|nachricht|remis|message|bezorg|entreg|consegn|dostarcz|доставл|配信|送信|投递|退信|邮件/.test(
    lower,
  )

/** True if a text (in lower case) says that a message was delivered, or warns of a full mailbox, and speaks of no failure. */
export const saysDelivered = (lower: string): boolean => (DELIVERED.test(lower) || NEARLY_FULL.test(lower)) && !UNDELIVERED.test(lower)

const DELIVERED =
  /successful(?:ly)? (?:deliver|relay)|(?:was|were|has been|have been) (?:delivered|relayed|expanded)|delivery [^.]{0,40} is complete|arrived in the mailbox|relayed to non-dsn|wurde (?:erfolgreich )?zugestellt|erfolgreich zugestellt|a été (?:remis|livré)|is bezorgd|se entregó|entregado correctamente|(?:сообщение|письмо) доставлено|consegnato correttamente|配信されました/
/** A warning to the owner of a mailbox. */
const NEARLY_FULL = /(?:almost|nearly) full|\d\d ?% (?:full|of)|quota warning|fast voll|presque plein/
const UNDELIVERED =
  /\bnot\b|n't\b|unable|fail|undeliver|reject|refus|unknown|bounce|cannot|expired|denied|nicht|n['’]a pas|niet|できません|失敗/

const STILL_TRYING = new RegExp(
  [
    'has been delayed|not yet been delivered|warning message only|attempts (?:to deliver )?(?:the message |your message |it )?will (?:be )?continue|do not need to resend',
    'will (?:be retried|keep trying|continue (?:trying|to (?:try|attempt|retry))|try again|retry|be tried again)|(?:still|keeps?) (?:being )?(?:trying|tried|retried|retrying)|is delayed',
    // German, French, Dutch
    '(?:ist|wurde|konnte) (?:bisher |bislang )?noch nicht|wird weiterhin versucht|versuchen es (?:noch|weiter)|seit \\d{1,3} stunden nicht|verspätet|weitere zustellversuche|zustellung (?:wurde |ist )?verzögert|zustellversuche werden fortgesetzt',
    "n['’]a pas encore|pas encore pu|non encore (?:distribu|remis)|tentatives de remise se poursui|nouvelles tentatives|remise (?:est |a été )?retardée|a été retardée?|sera (?:à nouveau|retent)",
    'nog niet (?:worden |kunnen worden |is )?(?:bezorg|afgelever)|blijven het|blijft proberen|(?:is|wordt|werd) vertraagd',
    // Spanish, Portuguese, Italian, Polish
    'aún no (?:se )?ha|todavía no (?:se )?ha|seguirá intent|seguiremos intent|se ha retrasado|ainda não (?:foi|pôde)|continuar(?:á|emos) (?:a )?tent|novas tentativas|sido retrasad|foi adiada|está atrasad|foi atrasad',
    'non è ancora stat|ulteriori tentativi|continuer(?:à|emo) a|è stat[ao] ritardat[ao]|in ritardo|nie został[ao]? jeszcze|jeszcze nie został|próby będą|został[ao]? opóźnion',
    // Russian, Japanese, Chinese
    'ещ[её] не (?:было |была )?доставлен|попытки будут|доставка (?:сообщения |письма )?(?:задерж|отлож)|попытки доставки будут|配信が遅延|遅延しています|再送を試み|まだ配信|尚未|仍在尝试|将继续|將繼續|延迟发送|已延迟|已延遲|继续尝试|繼續嘗試',
  ].join('|'),
)
const DELAY_SUBJECT =
  /\bdelay(?:ed)?\b|still being retried|^warning: (?:could not send|message)|verzögert|retardé|vertraagd|retrasad|atrasad|ritard|opóźni|verspätet|em atraso|non encore|nog niet|noch nicht|jeszcze nie|aún no|ainda não|задерж|遅延|延迟|延遲/i
const GIVEN_UP =
  /permanent(?:ly)? (?:error|fail|fatal)|failed permanently|giv(?:en|ing) up|gave up|will not be retried|no (?:further|more) attempts/

/** True if a notice (its text in lower case, and its subject) says that the system keeps trying. */
export const saysStillTrying = (lower: string, subject: string): boolean =>
  (STILL_TRYING.test(lower) || DELAY_SUBJECT.test(subject)) && !GIVEN_UP.test(lower)

const BARE_USER = [
  /\b(?:unknown (?:local )?user|no such (?:local )?user|no local user|user unknown)\s{0,3}:\s{0,3}<?([\w.+-]{1,64})(?![\w@.+-])/,
  /(?:^|\s)<?([\w.+-]{1,64})>?\.\.\. ?user unknown/,
]

/** True if a notice (its text in lower case) names an unknown user without a domain who is not that of the address. */
export function namesAnotherUser(lower: string, address: string): boolean {
  const local = address.slice(0, address.lastIndexOf('@')).toLowerCase()
  return BARE_USER.some((pattern) => {
    const name = pattern.exec(lower)?.[1]
    return name !== undefined && name !== local
  })
}

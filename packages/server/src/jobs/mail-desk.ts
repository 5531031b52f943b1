/** Where commands leave mail to be sent. */
export interface MailDesk {
  /** This mail is ready: somebody should look at it soon. */
  hint(mail: string): void
}

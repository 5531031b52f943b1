/** Interface through which commands request that a mail be sent. */
export interface Mailer {
  /** Notifies the workers that this mail is ready, so that one of them sends it soon. */
  hint(mail: string): void
}

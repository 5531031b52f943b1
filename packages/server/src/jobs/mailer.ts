/** Interface through which commands request that a mail be sent. */
export interface Mailer {
  /**
   * Notifies the workers that this mail is ready, so that it is sent soon. The call may get lost: the
   * dispatcher finds the mail later.
   */
  hint(mail: string): void
}

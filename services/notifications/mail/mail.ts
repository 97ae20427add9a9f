import type { MailAddress } from "../../../lib/config";
import type { Message } from "../senders/sender";
import { htmlOf, oneLine, textOf } from "./templates";

/** Whom mails are from, and where people reach those. */
export interface Post {
  from: MailAddress;
  publicUrl: string;
}

/**
 * A message as nodemailer takes it. Made again it is the same to the byte: it has the time of the notice, and the id of
 * the delivery in its Message-ID and its boundaries.
 */
export function mailOf(message: Message, { from, publicUrl }: Post) {
  const { deliveryId, to, notice, attachments = [], unsubscribeUrl } = message;
  return {
    from: { name: oneLine(from.name), address: from.address },
    to: { name: oneLine(to.name), address: to.email },
    // Not taken from the headers, where a name might be read as more than one address.
    envelope: { from: from.address, to: [to.email] },
    subject: oneLine(notice.title),
    messageId: `<${deliveryId}@${new URL(publicUrl).hostname}>`,
    date: notice.createdAt,
    baseBoundary: deliveryId,
    headers: {
      "Auto-Submitted": "auto-generated",
      // Both are what lets a mail reader do it with one click (RFC 8058).
      "List-Unsubscribe": { prepared: true, value: `<${unsubscribeUrl}>` },
      "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    },
    text: textOf(message),
    html: htmlOf(message),
    attachments: attachments.map(({ cid, ...file }) => ({
      ...file,
      ...(cid ? { cid, contentDisposition: "inline" as const } : {}),
    })),
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

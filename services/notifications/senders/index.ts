import { join } from "node:path";
import type { Clock } from "../../../lib/clock";
import type { Config } from "../../../lib/config";
import { mailFiles } from "../mail/mail-files";
import { smtp } from "../mail/smtp";
import { pushSender } from "./push";
import type { Sender } from "./sender";
import { smsSender } from "./sms";

function mailSender({ smtpUrl, dataDir, mailFrom, publicUrl }: Config): Sender {
  const post = { from: mailFrom, publicUrl };
  const files = mailFiles(join(dataDir, "mail"), post);
  if (smtpUrl === undefined) return files;
  // Files from before there was a server are forgotten as ever.
  const { forget, tidyUp } = files;
  return { ...smtp(smtpUrl, post), forget, tidyUp };
}

/** The ways out of the system that are configured, one for each channel. */
export const sendersOf = (config: Config, clock: Clock): readonly Sender[] =>
  [mailSender(config), smsSender(config, clock), pushSender(config, clock)].filter(
    (sender) => sender !== undefined,
  );

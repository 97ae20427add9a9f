/** Mails as files that any mail reader opens, where there is no server to send them by. */
import { chmodSync, existsSync } from "node:fs";
import { type FileHandle, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { createTransport } from "nodemailer";
import { makeFolder } from "../../../lib/embedded-postgres/folders";
import { isId } from "../../../lib/ids";
import { type Sender, SenderUnavailable } from "../senders/sender";
import { mailOf, type Post } from "./mail";

const ENDING = ".eml";
/** While it is being written. */
const DRAFT = ".part";
/** Files that are asked about with one statement. */
const CHUNK = 1000;

async function synced(file: Promise<FileHandle>, work?: (file: FileHandle) => Promise<void>) {
  const handle = await file;
  try {
    await work?.(handle);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Where the folder cannot be written to, nothing is sent until it can, and all else goes on. */
const unavailable = (folder: string, error: unknown): SenderUnavailable =>
  new SenderUnavailable(
    `DATA_DIR cannot hold mails in ${folder}: ${(error as NodeJS.ErrnoException).code ?? error}`,
  );

export function mailFiles(
  folder: string,
  post: Post,
): Sender & Required<Pick<Sender, "forget" | "tidyUp">> {
  const composer = createTransport({ streamTransport: true, buffer: true, newline: "windows" });
  const fileOf = (deliveryId: string) => join(folder, `${deliveryId}${ENDING}`);
  // Whole or not at all, and under the same name when it is done again.
  const write = async (file: string, bytes: Buffer) => {
    if (!existsSync(folder)) {
      makeFolder(folder);
      // Mails and the tickets in them are their recipients' business.
      chmodSync(folder, 0o700);
    }
    await synced(open(`${file}${DRAFT}`, "w", 0o600), (draft) => draft.writeFile(bytes));
    await rename(`${file}${DRAFT}`, file);
    await synced(open(folder, "r"));
  };
  const remove = async (ids: readonly string[]) => {
    for (const id of ids) {
      await rm(fileOf(id), { force: true });
      await rm(`${fileOf(id)}${DRAFT}`, { force: true });
    }
  };

  return {
    channel: "email",
    async send(message) {
      const { message: bytes } = await composer.sendMail(mailOf(message, post));
      try {
        await write(fileOf(message.deliveryId), bytes as Buffer);
      } catch (error) {
        throw unavailable(folder, error);
      }
    },
    forget: remove,
    async tidyUp(unknown) {
      if (!existsSync(folder)) return;
      const ids = new Set<string>();
      for (const name of await readdir(folder)) {
        const [id = "", ...rest] = name.split(".");
        // What somebody else has put there is theirs.
        if (isId(id) && /^eml(\.part)?$/.test(rest.join("."))) ids.add(id);
      }
      const all = [...ids];
      for (let from = 0; from < all.length; from += CHUNK) {
        await remove(await unknown(all.slice(from, from + CHUNK)));
      }
    },
  };
}

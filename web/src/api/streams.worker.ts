/**
 * The hub of all windows of a browser. The browser runs it once for all of them, for as long as there is one.
 *
 * Each side holds a lock as long as it lives, so that the other learns of its end however it came: a window that was
 * closed or has crashed leaves nothing open, and when this here dies, the windows have another one started.
 */
import { Hub } from "./hub";
import { alive, died, type Asked, type Told } from "./living";

const hub = new Hub();
const name = alive();

addEventListener("online", () => hub.breakOff());

addEventListener("connect", (event) => {
  const port = (event as MessageEvent).ports[0]!;
  const tell = (told: Told): void => port.postMessage(told);
  const followed = new Map<number, () => void>();
  port.onmessage = ({ data: asked }: MessageEvent<Asked>) => {
    if ("window" in asked) void died(asked.window).then(() => followed.forEach((end) => end()));
    else if ("leave" in asked) {
      followed.get(asked.leave)?.();
      followed.delete(asked.leave);
    } else {
      const { follow: number, address, name } = asked;
      const end = hub.follow(address, name, {
        told: (data) => tell({ number, data }),
        broke: () => {
          followed.delete(number);
          tell({ number, broke: true });
        },
        waits: () => tell({ number, waits: true }),
      });
      followed.set(number, end);
    }
  };
  void name.then((worker) => tell({ worker }));
});

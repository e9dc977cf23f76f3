import { KEYS } from "../app/keys";
import { VIEWS } from "../app/route";
import { Dialog } from "./dialog";

export function Help({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keyboard" onClose={onClose} wide>
      <div className="columns">
        <table>
          <thead>
            <tr>
              <th>key</th>
              <th>does</th>
            </tr>
          </thead>
          <tbody>
            {KEYS.map(([key, does]) => (
              <tr key={key}>
                <td>
                  <kbd>{key}</kbd>
                </td>
                <td>{does}</td>
              </tr>
            ))}
          </tbody>
        </table>
        <table>
          <thead>
            <tr>
              <th>keys</th>
              <th>open</th>
            </tr>
          </thead>
          <tbody>
            {VIEWS.map((view) => (
              <tr key={view.id}>
                <td>
                  <kbd>g</kbd> <kbd>{view.key}</kbd>
                </td>
                <td>{view.name}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Dialog>
  );
}

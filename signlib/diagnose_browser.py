"""Widgets of the diagnosis: `choose_runs` and `play_pairs`. Without a browser their pictures stay where they are."""

from signlib import audit_plots, diagnose_plots, plots
from signlib.errors import InputError
from signlib.reopen import reopen
from signlib.runs import load_runs, read_run

SHOWN_RUNS = 30  # the newest; more are no choice


def choose_runs(run="", log=False, runs="runs"):
    """Shows the curves of one or several runs below the cell: loss, accuracy, learning rate. Returns the widgets by name:
    `runs` and `log`. run: names or folders, separated by commas, to begin with; empty: the newest. Raises InputError for a
    run that is not there."""
    from IPython.display import display
    from ipywidgets import HBox, SelectMultiple, ToggleButton

    first = [read_run(name.strip(), runs) for name in run.split(",")]
    known = {folder.name: (folder, state) for folder, state in first}
    for name in load_runs(runs).run[::-1]:
        if len(known) >= SHOWN_RUNS:
            break
        if name not in known:
            try:
                known[name] = read_run(name, runs)
            except InputError:  # its run.json is torn
                continue
    wide = {"width": "max-content"}  # else long names are cut
    begin = [folder.name for folder, _ in first]
    chosen = SelectMultiple(options=list(known), value=begin, description="runs", rows=6, layout=wide)
    scale = ToggleButton(value=log, description="log scale")

    def draw():
        histories = {name: known[name][1]["history"] for name in chosen.value}
        yield diagnose_plots.run_curves(histories, "loss", scale.value)
        yield diagnose_plots.run_curves(histories, "accuracy")
        yield diagnose_plots.run_curves(histories, "learning_rate", scale.value)

    def redraw(_):
        for output, figure in zip(outputs, draw(), strict=True):
            output.update(figure)

    display(HBox([chosen, scale]))
    outputs = [display(figure, display_id=True) for figure in draw()]
    chosen.observe(redraw, "value")
    scale.observe(redraw, "value")
    return {"runs": chosen, "log": scale}


def play_pairs(folder, run, judged):
    """Shows the worst pairs of glosses: a clip that was read wrongly above one of the gloss that it was taken for. Choose a
    pair; `play` plays both side by side. Returns the widgets by name: `pair` and `play`; of a run without errors, or whose
    data is gone, says so and returns {}."""
    from IPython.display import HTML, display
    from ipywidgets import Button, Dropdown, HBox

    table = judged.confused().head(diagnose_plots.PAIRS)
    try:
        clips, train, _ = reopen(folder, run)
    except InputError as error:
        print(f"no clip can be shown: {error}")
        return {}
    if table.empty:
        print("no clip was read wrongly")
        return {}
    names = [f"{pair.signed} → {pair.read}: {pair.wrong} of {pair.clips}, {pair.kind}" for pair in table.itertuples()]
    options = [(name, row) for row, name in enumerate(names)]
    pair = Dropdown(options=options, value=0, description="pair", layout={"width": "max-content"})
    play = Button(description="play", icon="play", tooltip="make the player: some seconds")

    def shown():
        row = table.iloc[pair.value]
        one = clips.find(row.video_ids[0])
        other = next(clip for clip in train if clip.gloss == row["read"])
        return [
            (f"{one.video_id}: {one.gloss}, read as {row['read']}", one.read(), one.layout),
            (f"{other.video_id}: {other.gloss}, as learnt", other.read(), other.layout),
        ]

    def draw(_):
        try:
            picture = audit_plots.side_by_side(shown())
        except InputError as error:  # an exception in a widget is seen by nobody
            picture = HTML(str(error))
        outputs[0].update(picture)
        outputs[1].update(HTML(""))

    def animate(_):
        play.disabled = True
        try:
            outputs[1].update(plots.animate(shown()))
        except InputError as error:
            outputs[1].update(HTML(str(error)))
        finally:
            play.disabled = False

    display(HBox([pair, play]))
    outputs = [display(HTML(""), display_id=True) for _ in range(2)]
    draw(None)
    pair.observe(draw, "value")
    play.on_click(animate)
    return {"pair": pair, "play": play}

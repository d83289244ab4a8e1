// Owns the layout of text in columns, and which styles there are.
// Called by the verbs. Pure: text in, lines out; whether styles show is told, not asked.

/// How a cell looks on a terminal.
enum Style: String {
    case plain = "0"
    case bold = "1"
    case dim = "2"
    case red = "31"
    case green = "32"
    case yellow = "33"

    func applied(to text: String, isColoured: Bool) -> String {
        self == .plain || !isColoured || text.isEmpty ? text : "\u{1b}[\(rawValue)m\(text)\u{1b}[0m"
    }
}

struct Cell: ExpressibleByStringInterpolation {
    let text: String
    var style = Style.plain

    init(_ text: String, _ style: Style = .plain) {
        self.text = Words.printable(text)
        self.style = style
    }
    init(stringLiteral text: String) { self.init(text) }
    init(_ number: some BinaryInteger, _ style: Style = .plain) { self.init(String(number), style) }
}

struct Column {
    enum Side { case left, right }
    let title: String
    var side = Side.left

    static func left(_ title: String) -> Column { Column(title: title) }
    static func right(_ title: String) -> Column { Column(title: title, side: .right) }
}

/// Rows under titles; two spaces between columns, none at the end of a line. A row may be shorter than the titles.
struct Table {
    var columns: [Column]
    var rows: [[Cell]] = []
    var hasTitles = true

    init(_ columns: [Column], hasTitles: Bool = true) {
        self.columns = columns
        self.hasTitles = hasTitles
    }

    func lines(isColoured: Bool = false) -> [String] {
        var all = rows
        if hasTitles { all.insert(columns.map { Cell($0.title, .dim) }, at: 0) }
        var widths = [Int](repeating: 0, count: columns.count)
        for row in all {
            for (i, cell) in row.enumerated() where i < widths.count { widths[i] = max(widths[i], cell.text.count) }
        }
        return all.map { line($0, widths, isColoured) }
    }

    private func line(_ row: [Cell], _ widths: [Int], _ isColoured: Bool) -> String {
        var out = ""
        // Spaces are written only in front of something.
        var owed = 0
        for (i, cell) in row.enumerated() where i < widths.count {
            let space = widths[i] - cell.text.count
            if columns[i].side == .right { owed += space }
            if !cell.text.isEmpty {
                out += String(repeating: " ", count: owed) + cell.style.applied(to: cell.text, isColoured: isColoured)
                owed = 0
            }
            if columns[i].side == .left { owed += space }
            owed += 2
        }
        return out
    }
}

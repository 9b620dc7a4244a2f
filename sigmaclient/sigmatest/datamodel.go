package sigmatest

func listDataModels(a *ask) answer {
	all := make([]*DataModel, len(a.org.DataModels))
	for i := range all {
		all[i] = &a.org.DataModels[i]
	}
	return page(a, withMore, all, func(m *DataModel) object { return dataModelObject(a, m) })
}

func dataModelObject(a *ask, m *DataModel) object {
	body := document(a, "dataModel", m.ID, m.Name, m.Path, m.Owner, m.Version, m.CreatedAt, m.UpdatedAt)
	body["isArchived"] = false
	if a.URL.Query().Get("excludeTags") != "true" {
		body["tags"] = []object{}
	}
	return body
}

// inDataModel finds the data model that a call is about, by its id or the id in
// its URL.
func inDataModel(handle func(*ask, *DataModel) answer) func(*ask) answer {
	return func(a *ask) answer {
		id := a.PathValue("dataModelId")
		for i := range a.org.DataModels {
			if m := &a.org.DataModels[i]; m.ID == id || urlID(m.ID) == id {
				return handle(a, m)
			}
		}
		return notFound()
	}
}

func (m *DataModel) elements() []*Element { return elementsOf([]Page{{Elements: m.Elements}}) }

func getDataModel(a *ask, m *DataModel) answer { return ok(dataModelObject(a, m)) }

func dataModelElements(a *ask, m *DataModel) answer {
	if a.URL.Query().Get("tagName") != "" {
		return notFound()
	}
	return page(a, plain, m.elements(), elementObject)
}

func dataModelColumns(a *ask, m *DataModel) answer {
	return page(a, plain, columnsOf(m.elements()...), columnOfMany)
}

func dataModelLineage(a *ask, m *DataModel) answer {
	return graph{org: &a.org, elements: m.elements()}.lineage(a)
}

// dataModelSources names tables by another field than workbooks' sources do.
func dataModelSources(a *ask, m *DataModel) answer {
	return page(a, byToken, graph{org: &a.org, elements: m.elements()}.external(), func(s source) object {
		if s.listed["type"] == "table" {
			return object{"type": "table", "tableId": s.id}
		}
		return s.listed
	})
}

func dataModelTags(a *ask, _ *DataModel) answer {
	return page(a, plain, []object{}, func(tag object) object { return tag })
}

func dataModelQuery(a *ask, m *DataModel) answer {
	if a.URL.Query().Get("tagName") != "" {
		return notFound()
	}
	return oneQuery(a, m.elements())
}
